//! What was measured of a cluster, in words and tables.

use std::fmt::Write as _;

use super::super::report::{machine, postgres};
use super::{CHILDREN, Cost, Figures, NAMESPACES};

/// The verbs of requests that write.
const WRITES: [&str; 3] = ["PATCH", "APPLY", "POST"];

/// The text for the document.
pub fn report(figures: &Figures) -> String {
    let Figures { organizations, first, rows, idle, looks, changes, changed, again, bare } = figures;
    let objects = organizations * (1 + CHILDREN);
    let mut out = format!(
        "Measured on {} with {} and Kubernetes 1.36, all on this machine: {organizations} organizations of {CHILDREN} \
         children in {NAMESPACES} namespaces, {objects} objects in all.\n\n",
        machine(),
        postgres(),
    );
    out.push_str(
        "| what | wall s | controller CPU s | PostgreSQL CPU s | API server CPU s | etcd CPU s | peak MiB | MiB at its end |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let mut line = |name: &str, cost: &Cost| {
        let Cost { seconds, controller, server, api_server, etcd, .. } = cost;
        let (peak, held) = (cost.peak_kib / 1024, cost.held_kib / 1024);
        let _ = writeln!(
            out,
            "| {name} | {seconds:.1} | {controller:.2} | {server:.2} | {api_server:.2} | {etcd:.2} | {peak} | {held} |"
        );
    };
    line("from the start until all objects are `Ready`", first);
    line("nothing happens", idle);
    line(&format!("{} changes, one after the other", changes.len()), changed);
    line("from a start over what is applied until nothing is left to do", again);
    let (bare_objects, bare_seconds) = *bare;
    let floor = bare_seconds / bare_objects as f64 * objects as f64;
    let _ = write!(
        out,
        "\n**Until all are `Ready`**: {rows} rows, and {writes:.0} writes to the API server ({per:.2} for each object) beside \
         {reads:.0} reads: {rate:.0} objects a second. The same three writes for each object (finalizer, status, event), by the \
         same client and as many at the same time but with nothing else, took {bare_seconds:.1} s for {bare_objects} objects; \
         for all of them that would be {floor:.0} s, and the controller takes {ratio:.2} times as long. At rest it holds {held} MiB, \
         {kib:.1} KiB for each object.\n",
        writes = first.asked.of(&WRITES),
        per = first.asked.of(&WRITES) / objects as f64,
        reads = first.asked.of(&["GET", "LIST"]),
        rate = objects as f64 / first.seconds,
        ratio = first.seconds / floor,
        held = idle.held_kib / 1024,
        kib = idle.held_kib as f64 / objects as f64,
    );
    let per_hour = |count: f64| count / idle.seconds * 3_600.0;
    let _ = write!(
        out,
        "\n**At rest**, in a window of {seconds:.0} s with {looks} scheduled looks at namespaces: {all:.0} requests to the API \
         server, of which {watches:.0} began a watch anew (each lasts four to five minutes), {reads:.0} read and {writes:.0} \
         wrote; {transactions:.0} transactions in PostgreSQL, those of its own housekeeping (autovacuum) among them. Projected from \
         that window, an hour takes {all_hour:.0} requests, \
         {transactions_hour:.0} transactions, {cpu_hour:.1} s of processor time of the controller and {server_hour:.1} s of \
         PostgreSQL.\n",
        seconds = idle.seconds,
        all = idle.asked.all,
        watches = idle.asked.watches(),
        reads = idle.asked.of(&["GET", "LIST"]),
        writes = idle.asked.of(&WRITES),
        transactions = idle.transactions,
        all_hour = per_hour(idle.asked.all),
        transactions_hour = per_hour(idle.transactions),
        cpu_hour = per_hour(idle.controller),
        server_hour = per_hour(idle.server),
    );
    let at = |share: f64| changes[((changes.len() - 1) as f64 * share).round() as usize] * 1000.0;
    let _ = write!(
        out,
        "\n**One change** to one object, from the patch until its row is written and that is told and noted: {median:.0} ms in \
         the median, {p99:.0} ms at the 99th percentile, with {requests:.1} requests to the API server and {cpu:.0} ms of \
         processor time of the controller for each.\n",
        median = at(0.5),
        p99 = at(0.99),
        requests = (changed.asked.all - changed.asked.watches()) / changes.len() as f64,
        cpu = changed.controller / changes.len() as f64 * 1000.0,
    );
    let _ = write!(
        out,
        "\n**A start over what is applied** lists everything ({lists:.0} pages), compares it, and writes nothing ({writes:.0} \
         writes).\n",
        lists = again.asked.of(&["LIST"]),
        writes = again.asked.of(&WRITES),
    );
    out
}
