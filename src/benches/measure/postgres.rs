//! PostgreSQL as far as the measurements need it: a client that does nothing but COPY OUT, the tables in an order that
//! foreign keys allow, and what the server has used.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use argus::model::kind::Kind;
use argus::model::shape::Column;

/// The schema of the tables.
const SCHEMA: &str = "argus";

/// The answer of `psql` to one query, line by line.
pub fn query(sql: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let output = Command::new("psql").args(["-X", "-At", "-v", "ON_ERROR_STOP=1", "-c", sql]).output()?;
    if !output.status.success() {
        return Err(format!("{sql}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// The tables that hold resources: those of the kinds and of their lists, and what they refer to, the referred first.
pub fn tables() -> Result<Vec<String>, Box<dyn Error>> {
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    for kind in Kind::stored() {
        wanted.extend(kind.table.map(str::to_owned));
        for field in kind.fields {
            if let Column::Side { table, .. } = field.column {
                wanted.insert(table.to_owned());
            }
        }
    }
    let edges: Vec<(String, String)> = query(&format!(
        "SELECT DISTINCT child.relname, parent.relname FROM pg_constraint \
         JOIN pg_class child ON child.oid = conrelid JOIN pg_class parent ON parent.oid = confrelid \
         JOIN pg_namespace n ON n.oid = child.relnamespace WHERE contype = 'f' AND n.nspname = '{SCHEMA}'"
    ))?
    .iter()
    .filter_map(|line| line.split_once('|').map(|(child, parent)| (child.to_owned(), parent.to_owned())))
    .filter(|(child, parent)| child != parent)
    .collect();
    while let Some((_, parent)) =
        edges.iter().find(|(child, parent)| wanted.contains(child) && !wanted.contains(parent))
    {
        wanted.insert(parent.clone());
    }
    let mut ordered = Vec::with_capacity(wanted.len());
    while !wanted.is_empty() {
        let free = |table: &&String| !edges.iter().any(|(child, parent)| child == *table && wanted.contains(parent));
        let next = wanted.iter().find(free).ok_or("the foreign keys go in a circle")?.clone();
        wanted.remove(&next);
        ordered.push(next);
    }
    Ok(ordered)
}

/// `COPY` of one table to standard output.
pub fn copy_out(table: &str) -> String {
    format!("COPY {SCHEMA}.{table} TO STDOUT (FORMAT binary)")
}

/// The columns of a table that hold something of their own, and whether it also holds rows that come by themselves.
fn columns(table: &str) -> Result<(String, bool), Box<dyn Error>> {
    let columns = query(&format!(
        "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = '{SCHEMA}.{table}'::regclass \
         AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"
    ))?;
    // Every organization gets the built-in roles by a trigger.
    let built_in = columns.iter().any(|column| column == "built_in");
    Ok((columns.join(", "), built_in))
}

/// Dumps every table, an organization's rows together, into a file of its own and returns the number of bytes.
pub fn dump(tables: &[String], folder: &Path) -> Result<u64, Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let mut client = Client::connect()?;
    let mut bytes = 0;
    for table in tables {
        let (columns, built_in) = columns(table)?;
        let only = if built_in { "WHERE NOT built_in" } else { "" };
        let sql = format!("COPY (SELECT {columns} FROM {SCHEMA}.{table} {only} ORDER BY 1) TO STDOUT (FORMAT binary)");
        let mut file = std::io::BufWriter::new(std::fs::File::create(folder.join(table))?);
        bytes += client.copy_out(&sql, |part| file.write_all(part))?;
        file.flush()?;
    }
    Ok(bytes)
}

/// The command that loads the dumped files into a fresh database, all in one transaction. Tables that a fresh database
/// fills by itself are left out.
pub fn load(tables: &[String], folder: &Path) -> Result<Command, Box<dyn Error>> {
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "--single-transaction"]);
    for table in tables {
        let (columns, built_in) = columns(table)?;
        let filled = query(&format!("SELECT EXISTS (SELECT FROM {SCHEMA}.{table})"))?.join("") == "t";
        if filled && !built_in {
            continue;
        }
        let file = folder.join(table);
        psql.arg("-c").arg(format!("\\copy {SCHEMA}.{table} ({columns}) from '{}' (format binary)", file.display()));
    }
    Ok(psql)
}

/// A client that knows nothing but trust and COPY OUT: nothing could read the rows for less.
pub struct Client(BufReader<UnixStream>);

impl Client {
    /// Connects to the server that PGHOST (a folder with a socket), PGUSER and PGDATABASE name.
    pub fn connect() -> Result<Client, Box<dyn Error>> {
        let setting = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
        let port = setting("PGPORT").unwrap_or_else(|_| "5432".into());
        let mut stream = UnixStream::connect(format!("{}/.s.PGSQL.{port}", setting("PGHOST")?))?;
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        for word in ["user", &setting("PGUSER")?, "database", &setting("PGDATABASE")?, ""] {
            body.extend_from_slice(word.as_bytes());
            body.push(0);
        }
        stream.write_all(&(body.len() as u32 + 4).to_be_bytes())?;
        stream.write_all(&body)?;
        let mut client = Client(BufReader::with_capacity(256 * 1024, stream));
        client.until_ready(|_| Ok(()))?;
        Ok(client)
    }

    /// Runs one COPY and hands out its bytes as they come; returns their number.
    pub fn copy_out(
        &mut self,
        sql: &str,
        mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<u64, Box<dyn Error>> {
        let mut message = vec![b'Q'];
        message.extend_from_slice(&(sql.len() as u32 + 5).to_be_bytes());
        message.extend_from_slice(sql.as_bytes());
        message.push(0);
        self.0.get_mut().write_all(&message)?;
        let mut bytes = 0;
        self.until_ready(|part| {
            bytes += part.len() as u64;
            take(part)
        })?;
        Ok(bytes)
    }

    fn until_ready(&mut self, mut take: impl FnMut(&[u8]) -> std::io::Result<()>) -> Result<(), Box<dyn Error>> {
        let (mut head, mut body) = ([0; 5], Vec::new());
        loop {
            self.0.read_exact(&mut head)?;
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            body.resize(length - 4, 0);
            self.0.read_exact(&mut body)?;
            match head[0] {
                b'd' => take(&body)?,
                b'Z' => return Ok(()),
                b'E' => return Err(String::from_utf8_lossy(&body).replace('\0', " ").into()),
                b'R' if body != [0; 4] => return Err("the server asks for a password".into()),
                _ => {}
            }
        }
    }
}

/// The processor time that the server has used since it started, in seconds.
pub fn server_seconds() -> Result<f64, Box<dyn Error>> {
    let folder = query("SHOW data_directory")?.join("");
    let pid_file = std::fs::read_to_string(Path::new(&folder).join("postmaster.pid"))?;
    let postmaster: u32 = pid_file.lines().next().unwrap_or_default().trim().parse()?;
    let mut ticks = 0;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((head, rest)) = stat.rsplit_once(") ") else { continue };
        let pid: Option<u32> = head.split(' ').next().and_then(|pid| pid.parse().ok());
        let fields: Vec<u64> = rest.split(' ').map(|field| field.parse().unwrap_or(0)).collect();
        // After the name come state, ppid, ...; utime, stime, cutime and cstime are the 12th to the 15th of these. What
        // has ended is counted in the postmaster's last two.
        if pid == Some(postmaster) {
            ticks += fields[11..15].iter().sum::<u64>();
        } else if fields.get(1) == Some(&u64::from(postmaster)) {
            ticks += fields[11..13].iter().sum::<u64>();
        }
    }
    // The kernel shows a hundred ticks a second everywhere.
    Ok(ticks as f64 / 100.0)
}
