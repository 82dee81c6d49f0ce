//! What browsers and monitors get over HTTP: the page, health and metrics, and never a file.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use pocketsocket::{Config, Template};
use support::{Rig, config, raw};

async fn get(rig: &Rig, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    raw::request(&rig.server, request.as_bytes()).await
}

fn own(html: &str) -> Config {
    Config { template: Template::Html(html.to_owned()), ..config() }
}

#[tokio::test]
async fn the_built_in_page_comes_on_any_path_with_its_policy() {
    let rig = Rig::start(config());
    for path in ["/", "/ws/", "/any/path", "/index.html?query", "/%20"] {
        let answer = get(&rig, path).await;
        assert_eq!(raw::status(&answer), 200, "{path}");
        assert_eq!(raw::header(&answer, "content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(raw::header(&answer, "x-content-type-options"), Some("nosniff"));
        assert_eq!(raw::header(&answer, "referrer-policy"), Some("no-referrer"));
        assert_eq!(raw::header(&answer, "cache-control"), Some("no-store"));
        assert_eq!(raw::header(&answer, "connection"), Some("close"));
        let policy = raw::header(&answer, "content-security-policy").unwrap();
        let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
        assert!(raw::body(&answer).contains(nonce));
        let length = raw::header(&answer, "content-length").unwrap();
        assert_eq!(length.parse(), Ok(raw::body(&answer).len()));
    }
    assert_eq!(rig.server.stats().connections, 0);
}

#[tokio::test]
async fn an_own_page_is_served_as_it_is() {
    let html = "<!doctype html><title>é __NONCE__</title>";
    let rig = Rig::start(own(html));
    let answer = get(&rig, "/").await;
    assert_eq!(raw::body(&answer), html);
    assert_eq!(raw::header(&answer, "content-security-policy"), None);
}

#[tokio::test]
async fn a_page_from_a_file_is_read_at_the_start() {
    let path = std::env::temp_dir().join(format!("pocketsocket-page-{}.html", std::process::id()));
    std::fs::write(&path, "<p>from a file").unwrap();
    let rig = Rig::start(Config { template: Template::File(path.clone()), ..config() });
    std::fs::remove_file(&path).unwrap();
    assert_eq!(raw::body(&get(&rig, "/").await), "<p>from a file");
}

#[tokio::test]
async fn a_path_is_never_a_file() {
    let rig = Rig::start(own("the page"));
    for path in [
        "/../../../../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/..%5c..%5cetc%5cpasswd",
        "//etc/passwd",
        "/etc/passwd%00.html",
        "/Cargo.toml",
        "http://localhost/etc/passwd",
    ] {
        let answer = get(&rig, path).await;
        assert_eq!((raw::status(&answer), raw::body(&answer)), (200, "the page"), "{path}");
    }
}

#[tokio::test]
async fn head_gives_the_headers_alone() {
    let rig = Rig::start(own("the page"));
    let answer = raw::request(&rig.server, b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(raw::status(&answer), 200);
    assert_eq!(raw::header(&answer, "content-length"), Some("8"));
    assert_eq!(raw::body(&answer), "");
}

#[tokio::test]
async fn other_methods_get_405_with_what_is_allowed() {
    let rig = Rig::start(config());
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"] {
        // More than a server reads of what it refuses: its answer must arrive all the same.
        let body = "x".repeat(100_000);
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = raw::request(&rig.server, request.as_bytes()).await;
        assert_eq!(raw::status(&answer), 405, "{method}");
        assert_eq!(raw::header(&answer, "allow"), Some("GET, HEAD"));
    }
}

#[tokio::test]
async fn requests_that_smuggle_another_are_refused_and_the_connection_ends() {
    let rig = Rig::start(config());
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: +3",
        "Content-Length: 3\r\nContent-Length: 4",
        "Transfer-Encoding: chunked, identity",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        );
        let answer = raw::request(&rig.server, request.as_bytes()).await;
        assert!(matches!(raw::status(&answer), 400 | 405), "{lines}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "one answer a connection");
    }
}

#[tokio::test]
async fn a_page_of_another_host_is_refused() {
    let rig = Rig::start(config());
    let request = b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    let answer = raw::request(&rig.server, request).await;
    assert_eq!(raw::status(&answer), 403);
    assert!(raw::body(&answer).contains("allowedOrigins"));
}

#[tokio::test]
async fn favicon_and_health_are_reserved() {
    let rig = Rig::start(own("the page"));
    let favicon = get(&rig, "/favicon.ico").await;
    assert_eq!((raw::status(&favicon), raw::body(&favicon)), (204, ""));
    let health = get(&rig, "/health").await;
    assert_eq!((raw::status(&health), raw::body(&health)), (200, "ok\n"));
}

#[tokio::test]
async fn metrics_are_in_prometheus_text_format() {
    let mut rig = Rig::start(config());
    let (_client, _) = rig.connect().await;
    get(&rig, "/").await;
    let answer = get(&rig, "/metrics").await;
    let content_type = raw::header(&answer, "content-type").unwrap();
    assert!(content_type.starts_with("text/plain; version=0.0.4"), "{content_type}");
    let mut samples = std::collections::HashMap::new();
    for pair in raw::body(&answer).lines().collect::<Vec<_>>().chunks(2) {
        let [comment, sample] = pair else { panic!("a figure has two lines: {pair:?}") };
        let (name, value) = sample.split_once(' ').unwrap();
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        assert_eq!(*comment, format!("# TYPE {name} {kind}"));
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        samples.insert(name, value.parse::<f64>().unwrap());
    }
    assert_eq!(samples["pocketsocket_connections"], 1.0);
    assert_eq!(samples["pocketsocket_opened_total"], 1.0);
    assert_eq!(samples["pocketsocket_pages_total"], 1.0);
    assert_eq!(samples["pocketsocket_accepted_total"], 3.0);
}
