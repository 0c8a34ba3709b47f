//! What the site may say.
