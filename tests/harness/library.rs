//! A library that sends everybody to a registry.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

/// A library on this machine. Its thread ends with the process.
#[derive(Debug)]
pub struct Library {
    address: String,
}

impl Library {
    /// One that has images called `short`, which it calls `name`, in `registry`; no others.
    pub fn of(registry: &str, short: &str, name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it has an address").to_string();
        let wanted = format!("GET /v1/oci-redirect?namespace={short}&mapped=1&accessTypes=pull HTTP/1.1");
        let answer =
            serde_json::json!({ "token": "t0ken", "url": format!("http://{registry}"), "name": name })
                .to_string();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let Ok(reading) = client.try_clone() else { continue };
                let mut lines = BufReader::new(reading).lines().map_while(Result::ok);
                let known = lines.next().is_some_and(|line| line == wanted);
                lines.find(String::is_empty);
                let (status, body) = if known { ("200 OK", answer.as_str()) } else { ("404 Not Found", "") };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = client.write_all((head + body).as_bytes());
            }
        });
        Self { address }
    }

    /// Its host and port.
    pub fn address(&self) -> &str {
        &self.address
    }
}
