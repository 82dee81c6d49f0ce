//! The page that browsers get: bytes from memory, no directory behind it.

use bytes::Bytes;

/// The built-in page. Its style and script carry a nonce, so that nothing else on it can run.
const BUILT_IN: &str = include_str!("page.html");
/// Stands in the built-in page where the nonce goes.
const NONCE: &str = "__NONCE__";

/// A page, ready to be served.
#[derive(Debug)]
pub(crate) enum Page {
    /// The built-in page, in the parts between its nonces.
    BuiltIn(Vec<&'static str>),
    /// The application's own, served as it is.
    Own(Bytes),
}

/// One answer: the HTML and, for the built-in page, the policy that fits it.
pub(crate) struct Rendered {
    pub(crate) html: Bytes,
    pub(crate) policy: Option<String>,
}

impl Page {
    pub(crate) fn new(template: Option<String>) -> Self {
        match template {
            Some(html) => Self::Own(html.into()),
            None => Self::BuiltIn(BUILT_IN.split(NONCE).collect()),
        }
    }

    pub(crate) fn render(&self) -> Rendered {
        match self {
            Self::Own(html) => Rendered { html: html.clone(), policy: None },
            Self::BuiltIn(parts) => {
                let nonce = nonce();
                let policy = format!(
                    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
                     img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
                );
                Rendered { html: parts.join(&nonce).into(), policy: Some(policy) }
            }
        }
    }
}

/// 128 random bits, as CSP level 3 asks for, in hexadecimal.
fn nonce() -> String {
    let mut bytes = [0; 16];
    // Without randomness the nonce is constant: the page holds no data of others that it would guard against.
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_a_nonce_of_its_own_that_the_policy_names() {
        let page = Page::new(None);
        let (first, second) = (page.render(), page.render());
        assert_ne!(first.html, second.html);
        let html = String::from_utf8(first.html.to_vec()).unwrap();
        let policy = first.policy.unwrap();
        let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap();
        assert_eq!(nonce.len(), 32);
        assert_eq!(html.matches(nonce).count(), 2, "one style, one script");
        assert!(!html.contains(NONCE));
    }

    #[test]
    fn the_built_in_page_asks_nothing_of_other_hosts() {
        for scheme in ["http://", "https://", "//cdn"] {
            let outside = BUILT_IN.match_indices(scheme).find(|(at, _)| {
                // Namespaces of SVG are names, not requests.
                !BUILT_IN[*at..].starts_with("http://www.w3.org/")
            });
            assert_eq!(outside, None);
        }
    }
}
