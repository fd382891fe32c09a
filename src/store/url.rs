//! The address of a database. Whatever prints it, the password stays out.

use std::fmt;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use super::error::StoreError;

/// What may stand behind the `?` of an address. The driver would write others, with their values, into the log.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// The address of a database: `postgres://user:password@host:port/name?sslmode=verify-full`.
#[derive(Clone)]
pub struct DatabaseUrl {
    options: PgConnectOptions,
}

impl DatabaseUrl {
    /// The options that a connection is made with.
    pub(super) fn options(&self) -> PgConnectOptions {
        use sqlx::ConnectOptions as _;
        self.options.clone().disable_statement_logging()
    }

    /// The role that logs in.
    pub fn user(&self) -> &str {
        self.options.get_username()
    }

    /// What PostgreSQL's own programs read from the environment to reach the same database; without a password.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let socket = self.options.get_socket().map(|directory| directory.to_string_lossy().into_owned());
        vec![
            ("PGHOST", socket.unwrap_or_else(|| self.options.get_host().to_owned())),
            ("PGPORT", self.options.get_port().to_string()),
            ("PGUSER", self.user().to_owned()),
            ("PGDATABASE", self.options.get_database().unwrap_or(self.user()).to_owned()),
        ]
    }

    /// The same server and user, another database.
    pub fn with_database(&self, name: &str) -> DatabaseUrl {
        DatabaseUrl { options: self.options.clone().database(name) }
    }

    /// The address of a server that listens on a socket in this directory.
    pub(super) fn on_socket(directory: &std::path::Path, port: u16, user: &str, database: &str) -> DatabaseUrl {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(directory)
            .port(port)
            .username(user)
            .database(database)
            .ssl_mode(sqlx::postgres::PgSslMode::Disable);
        DatabaseUrl { options }
    }
}

impl FromStr for DatabaseUrl {
    type Err = StoreError;

    /// Reads an address. What is wrong with it is said without repeating it, for it may hold a password.
    fn from_str(text: &str) -> Result<Self, StoreError> {
        let bad = |why: &str| StoreError::BadUrl { why: why.to_owned() };
        if text.trim().is_empty() {
            return Err(StoreError::EmptyUrl);
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(bad("it does not start with `postgres://`"));
        }
        let parameters = text.split_once('?').map_or("", |(_, parameters)| parameters);
        let unknown = parameters.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let name = pair.split_once('=').map_or(pair, |(name, _)| name);
            (name, PARAMETERS.contains(&name) || name.starts_with("options["))
        });
        if let Some(at) = unknown.into_iter().position(|(_, known)| !known) {
            return Err(bad(&format!("its parameter number {} is unknown", at + 1)));
        }
        let options = PgConnectOptions::from_str(text).map_err(|_| bad("it cannot be read as an address"))?;
        Ok(DatabaseUrl { options })
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, port) = (self.options.get_username(), self.options.get_port());
        let database = self.options.get_database().unwrap_or(user);
        match self.options.get_socket() {
            // Both this driver and psql read the directory of a socket from the parameter.
            Some(socket) => {
                let directory = percent_encoded(&socket.to_string_lossy());
                write!(f, "postgres://{user}@localhost:{port}/{database}?host={directory}")
            }
            None => write!(f, "postgres://{user}@{}:{port}/{database}", self.options.get_host()),
        }
    }
}

fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for text in [
            "postgres://ada:canary@db.example:6000/argus?sslmode=require",
            "postgresql://ada@db.example:6000/argus?password=canary",
        ] {
            let url: DatabaseUrl = text.parse().expect("an address");
            for shown in [url.to_string(), format!("{url:?}"), format!("{:?}", Some(&url))] {
                assert!(!shown.contains("canary"), "{shown}");
                assert!(shown.contains("postgres://ada@db.example:6000/argus"), "{shown}");
            }
        }
    }

    #[test]
    fn the_address_of_a_socket_can_be_read_again() {
        let url = DatabaseUrl::on_socket(std::path::Path::new("/tmp/a b"), 5432, "argus", "argus");
        assert_eq!(url.to_string(), "postgres://argus@localhost:5432/argus?host=/tmp/a%20b");
        let again: DatabaseUrl = url.to_string().parse().expect("an address");
        assert_eq!(again.to_string(), url.to_string());
    }

    #[test]
    fn an_address_that_is_empty_is_told_as_such() {
        let error = "".parse::<DatabaseUrl>().expect_err("no address");
        assert!(error.to_string().contains("is empty") && error.hint().contains("secret"), "{error}: {}", error.hint());
    }

    #[test]
    fn what_is_wrong_with_an_address_does_not_repeat_it() {
        for text in ["mysql://a:canary@b/c", "canary", "postgres://a:b@c/d?pasword=canary", "postgres://a:canary@[/d"] {
            let error = text.parse::<DatabaseUrl>().expect_err(text);
            assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        }
    }
}
