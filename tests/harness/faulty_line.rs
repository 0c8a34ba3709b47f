//! A line to a server that breaks.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Forwards connections to a server of this machine, and breaks the first few of them in the middle of an answer. Its
/// threads end with the process.
#[derive(Debug)]
pub struct FaultyLine {
    address: String,
    sent: Arc<AtomicU64>,
}

impl FaultyLine {
    /// Opens one to `server`, whose next `breaks` answers of more than `after` bytes end there.
    pub fn to(server: &str, after: u64, breaks: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it has an address").to_string();
        let sent = Arc::new(AtomicU64::new(0));
        let (server, counted, breaks) =
            (server.to_owned(), Arc::clone(&sent), Arc::new(AtomicU64::new(breaks)));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else {
                    continue;
                };
                thread::spawn(move || forward(from_client, to_server, |_| true));
                let (counted, breaks) = (Arc::clone(&counted), Arc::clone(&breaks));
                thread::spawn(move || {
                    let mut left = after;
                    forward(server, client, |bytes| {
                        counted.fetch_add(bytes, Ordering::SeqCst);
                        left = left.saturating_sub(bytes);
                        let one_less = |breaks: u64| breaks.checked_sub(1);
                        left > 0 || breaks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_err()
                    });
                });
            }
        });
        Self { address, sent }
    }

    /// Its host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Bytes of answers that went over it.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

/// Copies until one side has enough or `goes_on` says no of the number of bytes that went last.
fn forward(mut from: TcpStream, mut to: TcpStream, mut goes_on: impl FnMut(u64) -> bool) {
    let mut chunk = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut chunk) {
        if to.write_all(&chunk[..read]).is_err() || !goes_on(read as u64) {
            break;
        }
    }
    // Either may be gone already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
