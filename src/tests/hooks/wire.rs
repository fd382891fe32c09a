//! What is on the wire: too much of it, in the wrong form, too slow, or from somebody else.

use std::time::Duration;

use super::*;

/// An answer without what differs from moment to moment.
fn timeless(answer: Answer) -> Answer {
    let head = answer.head.lines().filter(|line| !line.starts_with("date:")).collect::<Vec<_>>().join("\n");
    Answer { head, ..answer }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_is_not_right_and_a_source_that_is_not_there_are_answered_alike() {
    let (secrets, database) = (Secrets::new(), known(&["one"]).await);
    let webhook = secrets.webhook("github");
    let desk = Desk::new(&database, &[hooked("one", &webhook)]).await;
    let body = pushed("main", 1).to_string();
    let right = format!("sha256={}", hex(SECRET, &[body.as_bytes()]));
    let tell = |path: &str, signatures: &[&str]| {
        let mut headers = vec![("x-github-event", "push"), ("x-github-delivery", "a")];
        headers.extend(signatures.iter().map(|signature| ("x-hub-signature-256", *signature)));
        timeless(send(desk.address, path, &headers, body.as_bytes()))
    };
    // Nobody is there, although it is signed as if.
    let unknown = tell("/hooks/other", &[&right]);
    assert_eq!((unknown.status, unknown.body.as_str()), (401, "refused\n"));
    let of_another = format!("sha256={}", hex("another secret, as long", &[body.as_bytes()]));
    let of_another_body = format!("sha256={}", hex(SECRET, &[b"{}"]));
    let sha1 = right.replace("sha256=", "sha1=");
    let twice = format!("{right}, {right}");
    for (what, signatures) in [
        ("missing", vec![]),
        ("empty", vec![""]),
        ("of another secret", vec![of_another.as_str()]),
        ("of another body", vec![of_another_body.as_str()]),
        ("truncated", vec![&right[..right.len() - 1]]),
        ("truncated to nothing", vec!["sha256="]),
        ("in upper case", vec![&*right.to_uppercase().leak()]),
        ("its digits in upper case", vec![&*format!("sha256={}", right[7..].to_uppercase()).leak()]),
        ("in base64", vec!["sha256=dXEH6g6yUJ/CESIczphLijdXC211hsIsRvQ3nIsE4X4="]),
        ("of another kind", vec![sha1.as_str()]),
        ("twice", vec![right.as_str(), right.as_str()]),
        ("right and wrong", vec![right.as_str(), of_another.as_str()]),
        ("twice in one", vec![twice.as_str()]),
        ("no text", vec!["sha256=\u{fc}"]),
    ] {
        assert_eq!(tell("/hooks/one", &signatures), unknown, "{what}");
    }
    for path in ["/hooks/One", "/hooks/one%00", "/hooks/..", "/hooks/one%2F", "/hooks/%6Fne"] {
        assert_eq!(tell(path, &[&right]), unknown, "{path}");
    }
    // What is not even a hook.
    assert_eq!(tell("/hooks/one/more", &[&right]).status, 404);
    assert_eq!(tell("/hooks", &[&right]).status, 404);
    let mut stream = TcpStream::connect(desk.address).expect("it listens");
    stream.write_all(b"GET /hooks/one HTTP/1.1\r\nhost: argus\r\nconnection: close\r\n\r\n").expect("it reads");
    assert_eq!(read(&mut stream).status, 405);
    assert_eq!(asked(&database, "one").await, 0, "nobody was believed");
    // Only who keeps it running sees why.
    for (reason, many) in [("unknown", 6.0), ("unproven", 12.0), ("wrong", 2.0)] {
        assert_eq!(desk.measured(&format!("argus_webhooks_refused_total{{reason=\"{reason}\"}}")), many, "{reason}");
    }
    assert_eq!(tell("/hooks/one", &[&right]).body, "woken\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_compressed_is_refused_before_it_is_read() {
    let (secrets, database) = (Secrets::new(), known(&["one"]).await);
    let webhook = secrets.webhook("github");
    let desk = Desk::new(&database, &[hooked("one", &webhook)]).await;
    for path in ["/hooks/one", "/hooks/other"] {
        // It says how long it is, and is not even sent.
        let mut stream = TcpStream::connect(desk.address).expect("it listens");
        let head = format!("POST {path} HTTP/1.1\r\nhost: argus\r\ncontent-length: 1048577\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("it reads");
        assert_eq!(read(&mut stream).status, 413, "{path}");
        // It does not say so, and goes on and on.
        let mut stream = TcpStream::connect(desk.address).expect("it listens");
        let head = format!("POST {path} HTTP/1.1\r\nhost: argus\r\ntransfer-encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("it reads");
        let chunk = format!("8000\r\n{}\r\n", "a".repeat(0x8000));
        let sent = (0..400).take_while(|_| stream.write_all(chunk.as_bytes()).is_ok()).count();
        assert!(sent < 400, "{path}: all of it was read");
        for encoding in ["gzip", "deflate, identity", "br", "zstd"] {
            let answer = send(desk.address, path, &[("content-encoding", encoding)], b"{}");
            assert_eq!(answer.status, 415, "{path} {encoding}");
        }
        assert_eq!(send(desk.address, path, &[("content-encoding", "identity")], b"{}").status, 401);
    }
    // As much as is allowed is allowed.
    let mut body = pushed("main", 1);
    body["padding"] = "".into();
    let room = 1024 * 1024 - body.to_string().len();
    body["padding"] = "a".repeat(room).into();
    assert_eq!(body.to_string().len(), 1024 * 1024);
    assert_eq!(push_of_github(desk.address, "one", "a", &body).body, "woken\n");
    assert_eq!(asked(&database, "one").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_to_its_end_is_cut_off_and_delays_nobody() {
    let (secrets, database) = (Secrets::new(), known(&["one"]).await);
    let webhook = secrets.webhook("github");
    let desk = Desk::new(&database, &[hooked("one", &webhook)]).await;
    let head = "POST /hooks/one HTTP/1.1\r\nhost: argus\r\ncontent-length: 1000\r\n\r\n{";
    let mut slow: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(desk.address).expect("it listens");
            stream.write_all(head.as_bytes()).expect("it reads");
            stream
        })
        .collect();
    assert_eq!(push_of_github(desk.address, "one", "a", &pushed("main", 1)).body, "woken\n");
    // A byte now and then does not help.
    let ended = slow.iter_mut().all(|stream| {
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a limit");
        (0..600).any(|_| {
            let _ = stream.write_all(b" ");
            let mut byte = [0; 64];
            // An answer, an end or an error; anything but waiting.
            !matches!(stream.read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
        })
    });
    assert!(ended, "somebody waits for ever");
    assert_eq!(asked(&database, "one").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_too_often_is_told_when_to_come_again() {
    let (secrets, database) = (Secrets::new(), known(&["one", "other"]).await);
    let webhook = secrets.webhook("github");
    let sources = [hooked("one", &webhook), hooked("other", &webhook)];
    let desk = Desk::new(&database, &sources).await;
    // Of one source, though it is signed.
    let answers: Vec<Answer> = (0..160)
        .map(|number| push_of_github(desk.address, "one", &number.to_string(), &pushed("main", number)))
        .collect();
    let refused: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(!refused.is_empty(), "nobody is told to wait");
    assert!(refused.iter().all(|answer| answer.head.contains("retry-after: 1") && answer.body == "too many\n"));
    assert!(answers[..120].iter().all(|answer| answer.body == "woken\n"));
    // What was refused is not taken for seen: when it comes again, it counts.
    assert_eq!(asked(&database, "one").await as usize, answers.len() - refused.len());
    assert_eq!(push_of_github(desk.address, "other", "a", &pushed("main", 1)).body, "woken\n");
    // Of one address, whatever it asks for.
    let answers: Vec<Answer> = (0..300).map(|_| send(desk.address, "/hooks/nobody", &[], b"{}")).collect();
    let refused: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(
        refused.iter().all(|answer| answer.head.contains("retry-after: 1")) && refused.len() > 100,
        "{}",
        refused.len()
    );
    assert!(desk.measured("argus_webhooks_refused_total{reason=\"rate\"}") > 100.0);
    // What has nothing to do with hooks is served all the same.
    let mut stream = TcpStream::connect(desk.address).expect("it listens");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: argus\r\nconnection: close\r\n\r\n").expect("it reads");
    assert_eq!(read(&mut stream).body, "ok\n");
}
