//! A secret, compared in constant time.

use std::fmt;

/// A secret that `Debug` never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl Token {
    /// Wraps a secret.
    pub fn new(secret: impl Into<Box<str>>) -> Self {
        Token(secret.into())
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `secret` equals this one. The comparison takes the same time wherever the first difference is.
    pub fn is(&self, secret: &str) -> bool {
        let (ours, theirs) = (self.0.as_bytes(), secret.as_bytes());
        ours.len() == theirs.len() && ours.iter().zip(theirs).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_alone() {
        let token = Token::new("s3cret");
        assert!(token.is("s3cret"));
        for other in ["", "s3cre", "s3cret ", "S3cret", "s3creT"] {
            assert!(!token.is(other), "{other:?}");
        }
    }
}
