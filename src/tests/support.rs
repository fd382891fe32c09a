//! What the tests stand on.

pub mod collector;
pub mod forge;
pub mod git;
pub mod git_http;
pub mod git_ssh;
pub mod gnupg;
pub mod kafka;
pub mod keys;
pub mod kubernetes;
pub mod kubernetes_proxy;
pub mod mail;
pub mod plans;
pub mod postgres;
pub mod receiver;
pub mod tls;
