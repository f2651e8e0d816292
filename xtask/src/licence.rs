//! Owns SPDX licence expressions: reads one and says whether a set of accepted licences satisfies it.
//! Does not know which licences are accepted. Source: SPDX specification, annex "SPDX license expressions".

/// An expression such as `(MIT OR Apache-2.0) AND Unicode-3.0`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    /// One licence, with its exception if it has one: `Apache-2.0 WITH LLVM-exception`.
    Licence(String),
    Both(Box<Expression>, Box<Expression>),
    Either(Box<Expression>, Box<Expression>),
}

impl Expression {
    /// Reads an expression; the slash of older manifests (`MIT/Apache-2.0`) means `OR`.
    ///
    /// # Errors
    /// A description of what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let spaced = text
            .replace('(', " ( ")
            .replace(')', " ) ")
            .replace('/', " OR ");
        let words = spaced.split_whitespace().collect::<Vec<_>>();
        let mut rest = words.as_slice();
        let expression = either(&mut rest)?;
        match rest.first() {
            None => Ok(expression),
            Some(word) => Err(format!("unexpected `{word}` in `{text}`")),
        }
    }

    /// Whether the accepted licences suffice.
    pub(crate) fn is_satisfied(&self, accepted: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::Licence(name) => accepted(name),
            Self::Both(left, right) => left.is_satisfied(accepted) && right.is_satisfied(accepted),
            Self::Either(left, right) => {
                left.is_satisfied(accepted) || right.is_satisfied(accepted)
            }
        }
    }

    /// The licences it names.
    pub(crate) fn licences(&self) -> Vec<&str> {
        match self {
            Self::Licence(name) => vec![name],
            Self::Both(left, right) | Self::Either(left, right) => {
                [left.licences(), right.licences()].concat()
            }
        }
    }
}

/// `OR` binds weaker than `AND`.
fn either(words: &mut &[&str]) -> Result<Expression, String> {
    let mut left = both(words)?;
    while take(words, "OR") {
        left = Expression::Either(Box::new(left), Box::new(both(words)?));
    }
    Ok(left)
}

fn both(words: &mut &[&str]) -> Result<Expression, String> {
    let mut left = single(words)?;
    while take(words, "AND") {
        left = Expression::Both(Box::new(left), Box::new(single(words)?));
    }
    Ok(left)
}

fn single(words: &mut &[&str]) -> Result<Expression, String> {
    if take(words, "(") {
        let inner = either(words)?;
        return if take(words, ")") {
            Ok(inner)
        } else {
            Err("a bracket is not closed".to_owned())
        };
    }
    let name = name(words)?;
    if take(words, "WITH") {
        return Ok(Expression::Licence(format!(
            "{name} WITH {}",
            self::name(words)?
        )));
    }
    Ok(Expression::Licence(name.to_owned()))
}

fn name<'a>(words: &mut &[&'a str]) -> Result<&'a str, String> {
    match words.split_first() {
        Some((word, rest)) if !matches!(*word, "(" | ")" | "AND" | "OR" | "WITH") => {
            *words = rest;
            Ok(word)
        }
        Some((word, _)) => Err(format!("a licence was expected before `{word}`")),
        None => Err("a licence was expected at the end".to_owned()),
    }
}

fn take(words: &mut &[&str], wanted: &str) -> bool {
    match words.split_first() {
        Some((word, rest)) if *word == wanted => {
            *words = rest;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, accepted: &[&str]) -> bool {
        let expression = Expression::parse(text).expect(text);
        expression.is_satisfied(&|name| accepted.contains(&name))
    }

    #[test]
    fn one_alternative_is_enough_and_every_part_is_needed() {
        assert!(check("MIT", &["MIT"]));
        assert!(!check("MIT", &["ISC"]));
        assert!(check("GPL-3.0-only OR MIT", &["MIT"]));
        assert!(!check("GPL-3.0-only AND MIT", &["MIT"]));
        assert!(check("GPL-3.0-only/MIT", &["MIT"]));
    }

    #[test]
    fn and_binds_closer_than_or() {
        assert!(check("A OR B AND C", &["A"]));
        assert!(!check("(A OR B) AND C", &["A"]));
        assert!(check("(A OR B) AND C", &["B", "C"]));
        assert!(check("A AND B OR C", &["C"]));
    }

    #[test]
    fn an_exception_belongs_to_its_licence() {
        assert!(!check("Apache-2.0 WITH LLVM-exception", &["Apache-2.0"]));
        assert!(check(
            "Apache-2.0 WITH LLVM-exception OR MIT",
            &["Apache-2.0 WITH LLVM-exception"]
        ));
    }

    #[test]
    fn broken_expressions_are_refused() {
        for text in [
            "",
            "MIT OR",
            "AND MIT",
            "(MIT",
            "MIT)",
            "MIT ISC",
            "MIT WITH OR",
            "()",
        ] {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
    }
}
