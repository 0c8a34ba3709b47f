//! The only unsafe code of the frontend.
