//! The rules of organizations on events.
