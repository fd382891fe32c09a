//! One file per kind; [`super::kind::KINDS`] lists them.

pub mod api_key;
pub mod budget;
pub mod member;
pub mod notification_channel;
pub mod notification_rule;
pub mod organization;
pub mod project;
pub mod removal;
pub mod role;
pub mod service_account;
pub mod team;
pub mod tier;
