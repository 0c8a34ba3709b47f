//! SIF files: header, descriptor table, objects; read and write.
