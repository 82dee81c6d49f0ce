//! What is written to standard output, and that nobody has to read it.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    process::Stdio,
};

use tokio_tungstenite::tungstenite::Message;

use crate::{
    program::{Folder, PATIENCE, get},
    sockets::{connect, end, receive},
};

#[test]
fn it_tells_its_url_and_the_time_it_took() {
    let (told, address) = Folder::new().serve(&[]).banner();
    assert_eq!(told.len(), 4, "{told:?}");
    let port = address.strip_prefix("127.0.0.1:").expect("the default address");
    assert_ne!(port.parse(), Ok(0));
    let ttl = told[3].strip_prefix("TTL: ").expect("the time");
    for word in ttl.replace(',', "").split(' ') {
        let unit = word.trim_end_matches('s');
        let known = ["and", "second", "millisecond", "microsecond", "nanosecond"].contains(&unit);
        assert!(known || word.parse::<u64>().is_ok(), "{ttl}");
    }
}

#[test]
fn an_ipv6_address_is_in_brackets() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    for address in ["::1", "[::1]"] {
        let program = Folder::new().serve(&["--address", address]);
        let address = program.address();
        assert!(address.starts_with("[::1]:"), "{address}");
        assert_eq!(get(&address, "/health"), ("HTTP/1.1 200 OK".into(), "ok\n".into()));
    }
}

/// As with `| head -4`: what comes after is written to nobody.
#[tokio::test]
async fn a_reader_that_goes_away_stops_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    let folder = Folder::new();
    let mut command = folder.command(&["--run", "--port=0", "--print"]);
    let program = folder.serve_unread(&mut command, writer);
    let told: Vec<String> = BufReader::new(reader).lines().take(4).map(Result::unwrap).collect();
    let address = told[2].strip_prefix("Serving on http://").expect("a URL");
    // The reader is gone. Each of these has something to print.
    for _ in 0..3 {
        let mut client = connect(address, "/").await;
        client.close(None).await.unwrap();
        assert!(matches!(receive(&mut client).await, Message::Close(_)));
        end(&mut client).await;
    }
    assert_eq!(get(address, "/health").1, "ok\n");
    program.stop();
}

#[test]
fn output_that_is_closed_from_the_start_stops_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let folder = Folder::new();
    let mut command = folder.command(&["--run", "--port=0"]);
    command.env("POCKETSOCKET_LOG", "info").stderr(Stdio::piped());
    let mut program = folder.serve_unread(&mut command, writer);
    // The log is the one to tell the port then.
    let log = program.stderr();
    let line = log.recv_timeout(PATIENCE).expect("a line of the log");
    let (_, address) = line.split_once("listening on ").expect("where it listens");
    let address = address.split(' ').next().unwrap();
    assert_eq!(get(address, "/health").1, "ok\n");
    program.stop();
    let rest: Vec<String> = log.iter().collect();
    assert!(!rest.iter().any(|line| line.contains("panicked")), "{rest:?}");
}
