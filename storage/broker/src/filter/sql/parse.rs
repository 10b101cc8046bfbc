//! Tokens into nodes: precedence, what may stand where, and the limits.
//!
//! Loosest first. RocketMQ: OR; AND; `=`, `<>` and IS NULL; all other tests; signs and NOT. JMS: OR; AND; NOT; all
//! tests; `+`, `-`; `*`, `/`; signs.

use std::cmp::Ordering;

use super::compare::numbers;
use super::token::{Located, Token};
use super::*;
use crate::limits::*;

/// A finished part of the expression.
#[derive(Clone, Copy)]
struct Piece {
    id: NodeId,
    /// Where its text begins.
    at: usize,
}

struct Parser<'a> {
    dialect: Dialect,
    tokens: Vec<Located<'a>>,
    /// The next token.
    next: usize,
    /// Parentheses and signs that are open.
    open: usize,
    nodes: Vec<Node>,
    /// How many nodes lie below each, itself included, on the longest way down.
    depths: Vec<usize>,
    /// Nodes and listed texts.
    terms: usize,
}

type Parsed = Result<Piece, FilterError>;

const OPERAND: &str = "a property, a literal or (";
const TEXT: &str = "text in single quotes";

impl Expression {
    /// Compiles an expression, or says what is wrong with it and where.
    pub fn parse(text: &str, dialect: Dialect) -> Result<Expression, FilterError> {
        if text.len() > FILTER_BYTES_MAX {
            return Err(FilterError::TooLong { bytes: text.len() });
        }
        let tokens = token::read(text, dialect)?;
        let (nodes, depths) = (Vec::new(), Vec::new());
        let mut parser = Parser { dialect, tokens, next: 0, open: 0, nodes, depths, terms: 0 };
        let whole = parser.disjunction()?;
        if *parser.token() != Token::End {
            return Err(parser.unexpected("an operator or the end"));
        }
        parser.condition(whole)?;
        Ok(Expression { dialect, nodes: parser.nodes })
    }
}

// The grammar.
impl<'a> Parser<'a> {
    fn disjunction(&mut self) -> Parsed {
        let first = self.conjunction()?;
        self.chain(first, "OR", Parser::conjunction, Node::Any)
    }

    fn conjunction(&mut self) -> Parsed {
        let part = match self.dialect {
            Dialect::Rocketmq => Parser::equality,
            Dialect::Jms => Parser::negation,
        };
        let first = part(self)?;
        self.chain(first, "AND", part, Node::All)
    }

    fn chain(
        &mut self,
        first: Piece,
        word: &str,
        part: fn(&mut Self) -> Parsed,
        node: fn(Vec<NodeId>) -> Node,
    ) -> Parsed {
        if !self.is_word(0, word) {
            return Ok(first);
        }
        let mut parts = vec![self.condition(first)?.id];
        while self.take_word(word) {
            let next = part(self)?;
            parts.push(self.condition(next)?.id);
        }
        let children = parts.clone();
        self.add(first.at, node(parts), &children)
    }

    /// RocketMQ: tests that bind less tightly than the others.
    fn equality(&mut self) -> Parsed {
        let mut left = self.comparison()?;
        while let Some(tested) = self.equality_test(left)? {
            left = tested;
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Parsed {
        let mut left = self.operand()?;
        while let Some(tested) = self.other_test(left)? {
            left = tested;
        }
        Ok(left)
    }

    /// JMS: NOT, then tests.
    fn negation(&mut self) -> Parsed {
        let at = self.at();
        if self.take_word("NOT") {
            let value = self.deeper(Parser::negation)?;
            let value = self.condition(value)?;
            return self.add(at, Node::Not(value.id), &[value.id]);
        }
        let mut left = self.operand()?;
        loop {
            let tested = match self.equality_test(left)? {
                None => self.other_test(left)?,
                tested => tested,
            };
            let Some(tested) = tested else { return Ok(left) };
            left = tested;
        }
    }

    /// What a test compares.
    fn operand(&mut self) -> Parsed {
        match self.dialect {
            Dialect::Rocketmq => self.signed(),
            Dialect::Jms => self.sum(),
        }
    }

    fn sum(&mut self) -> Parsed {
        self.arithmetic(&[Operator::Add, Operator::Subtract], Parser::product)
    }

    fn product(&mut self) -> Parsed {
        self.arithmetic(&[Operator::Multiply, Operator::Divide], Parser::signed)
    }

    fn arithmetic(&mut self, operators: &[Operator], part: fn(&mut Self) -> Parsed) -> Parsed {
        let mut left = part(self)?;
        while let Some(operator) = operators.iter().find(|operator| self.take_sign(operator.sign())) {
            let right = part(self)?;
            let node = Node::Arithmetic { operator: *operator, left: left.id, right: right.id };
            left = self.add(left.at, node, &[left.id, right.id])?;
        }
        Ok(left)
    }

    fn signed(&mut self) -> Parsed {
        let at = self.at();
        if self.take_sign("+") {
            return self.deeper(Parser::signed);
        }
        if self.take_sign("-") {
            let value = self.deeper(Parser::signed)?;
            return self.add(at, Node::Negate(value.id), &[value.id]);
        }
        if self.dialect == Dialect::Rocketmq && self.take_word("NOT") {
            let value = self.deeper(Parser::signed)?;
            let value = self.condition(value)?;
            return self.add(at, Node::Not(value.id), &[value.id]);
        }
        self.primary()
    }

    fn primary(&mut self) -> Parsed {
        let at = self.at();
        if self.take_sign("(") {
            let inner = self.deeper(Parser::disjunction)?;
            self.expect_sign(")")?;
            return Ok(Piece { at, ..inner });
        }
        let node = match self.token() {
            Token::Number(number) => Node::Constant(number.clone()),
            Token::Text(text) => Node::Constant(Constant::Text(text.as_str().into())),
            Token::Word(word) if word.eq_ignore_ascii_case("TRUE") => Node::Constant(Constant::Bool(true)),
            Token::Word(word) if word.eq_ignore_ascii_case("FALSE") => Node::Constant(Constant::Bool(false)),
            Token::Word(word) if word.eq_ignore_ascii_case("NULL") => Node::Constant(Constant::Null),
            Token::Word(word) if !self.dialect.is_reserved(word) => Node::Property((*word).into()),
            _ => return Err(self.unexpected(OPERAND)),
        };
        self.next += 1;
        self.add(at, node, &[])
    }
}

// Tests. Each gives `None` where the next token does not begin one.
impl<'a> Parser<'a> {
    fn equality_test(&mut self, left: Piece) -> Result<Option<Piece>, FilterError> {
        let comparison = [Comparison::Equal, Comparison::NotEqual];
        if let Some(comparison) = comparison.into_iter().find(|one| self.take_sign(one.sign())) {
            let right = match self.dialect {
                Dialect::Rocketmq => self.comparison()?,
                Dialect::Jms => self.operand()?,
            };
            self.check_equality(left, right)?;
            let node = Node::Compare { comparison, left: left.id, right: right.id };
            return self.add(left.at, node, &[left.id, right.id]).map(Some);
        }
        if !self.take_word("IS") {
            return Ok(None);
        }
        let is_negated = self.take_word("NOT");
        if !self.take_word("NULL") {
            return Err(self.unexpected("NULL"));
        }
        self.add(left.at, Node::IsNull { value: left.id, is_negated }, &[left.id]).map(Some)
    }

    fn other_test(&mut self, left: Piece) -> Result<Option<Piece>, FilterError> {
        let comparisons =
            [Comparison::Less, Comparison::LessOrEqual, Comparison::Greater, Comparison::GreaterOrEqual];
        if let Some(comparison) = comparisons.into_iter().find(|one| self.take_sign(one.sign())) {
            let right = self.operand()?;
            self.check_order(left)?;
            self.check_order(right)?;
            let node = Node::Compare { comparison, left: left.id, right: right.id };
            return self.add(left.at, node, &[left.id, right.id]).map(Some);
        }
        let is_negated = self.is_word(0, "NOT");
        let ahead = usize::from(is_negated);
        let parts = [Part::Contains, Part::StartsWith, Part::EndsWith];
        let part = parts.into_iter().find(|part| self.is_word(ahead, part.word()));
        let test = match part {
            Some(_) if self.dialect == Dialect::Rocketmq => Parser::part_test,
            _ if self.is_word(ahead, "BETWEEN") => Parser::between_test,
            _ if self.is_word(ahead, "IN") => Parser::in_test,
            _ if self.is_word(ahead, "LIKE") && self.dialect == Dialect::Jms => Parser::like_test,
            _ => return Ok(None),
        };
        self.next += ahead;
        test(self, left, is_negated).map(Some)
    }

    fn part_test(&mut self, left: Piece, is_negated: bool) -> Parsed {
        let parts = [Part::Contains, Part::StartsWith, Part::EndsWith];
        let part = parts.into_iter().find(|part| self.take_word(part.word())).unwrap_or(Part::Contains);
        let search = self.expect_text()?.into();
        self.add(left.at, Node::Part { part, value: left.id, search, is_negated }, &[left.id])
    }

    fn between_test(&mut self, left: Piece, is_negated: bool) -> Parsed {
        self.take_word("BETWEEN");
        let low = self.operand()?;
        if !self.take_word("AND") {
            return Err(self.unexpected("AND"));
        }
        let high = self.operand()?;
        for bounded in [left, low, high] {
            self.check_order(bounded)?;
        }
        if !is_negated && self.are_crossed(low, high) {
            return Err(FilterError::Misuse { at: low.at, misuse: Misuse::BoundsCrossed });
        }
        let node = Node::Between { value: left.id, low: low.id, high: high.id, is_negated };
        self.add(left.at, node, &[left.id, low.id, high.id])
    }

    fn in_test(&mut self, left: Piece, is_negated: bool) -> Parsed {
        self.take_word("IN");
        self.check_property(left)?;
        self.expect_sign("(")?;
        let mut list = Vec::new();
        loop {
            self.count(self.at())?;
            list.push(self.expect_text()?.into());
            if !self.take_sign(",") {
                break;
            }
        }
        self.expect_sign(")")?;
        self.add(left.at, Node::In { value: left.id, list, is_negated }, &[left.id])
    }

    fn like_test(&mut self, left: Piece, is_negated: bool) -> Parsed {
        self.take_word("LIKE");
        self.check_property(left)?;
        let text = self.expect_text()?;
        let at = self.at();
        let wrong = FilterError::Misuse { at, misuse: Misuse::Escape };
        let mut escape = None;
        if self.take_word("ESCAPE") {
            let written = self.expect_text()?;
            let mut characters = written.chars();
            escape = characters.next();
            if escape.is_none() || characters.next().is_some() {
                return Err(wrong);
            }
        }
        let pattern = Pattern::parse(&text, escape).ok_or(wrong)?;
        self.add(left.at, Node::Like { value: left.id, pattern, is_negated }, &[left.id])
    }
}

// What may stand where.
impl<'a> Parser<'a> {
    /// The piece as something that is true or false.
    fn condition(&mut self, piece: Piece) -> Parsed {
        match self.nodes.get(piece.id) {
            Some(Node::Property(_)) => self.add(piece.at, Node::Truth(piece.id), &[piece.id]),
            Some(node) if node.is_boolean() => Ok(piece),
            _ => Err(FilterError::Misuse { at: piece.at, misuse: Misuse::NotBoolean }),
        }
    }

    fn check_order(&self, piece: Piece) -> Result<(), FilterError> {
        let has_order = match self.nodes.get(piece.id) {
            Some(Node::Constant(constant)) => constant.is_number(),
            Some(node) => !node.is_boolean(),
            None => false,
        };
        if has_order { Ok(()) } else { Err(FilterError::Misuse { at: piece.at, misuse: Misuse::NotOrdered }) }
    }

    fn check_equality(&self, left: Piece, right: Piece) -> Result<(), FilterError> {
        let (left_value, right_value) = (self.constant(left), self.constant(right));
        for (piece, value) in [(left, left_value), (right, right_value)] {
            if value == Some(&Constant::Null) {
                return Err(FilterError::Misuse { at: piece.at, misuse: Misuse::EqualsNull });
            }
        }
        match (left_value, right_value) {
            (Some(Constant::Bool(_)), Some(Constant::Bool(_)) | None) => Ok(()),
            (Some(Constant::Bool(_)), Some(_)) => {
                Err(FilterError::Misuse { at: right.at, misuse: Misuse::BooleanWithOther })
            }
            _ => Ok(()),
        }
    }

    fn check_property(&self, piece: Piece) -> Result<(), FilterError> {
        match self.nodes.get(piece.id) {
            Some(Node::Property(_)) => Ok(()),
            _ => Err(FilterError::Misuse { at: piece.at, misuse: Misuse::NotProperty }),
        }
    }

    /// Only literals are compared here; what has a sign is no literal.
    fn are_crossed(&self, low: Piece, high: Piece) -> bool {
        let (Some(low), Some(high)) = (self.constant(low), self.constant(high)) else { return false };
        numbers(low.value(), high.value()) == Some(Ordering::Greater)
    }

    fn constant(&self, piece: Piece) -> Option<&Constant> {
        match self.nodes.get(piece.id) {
            Some(Node::Constant(constant)) => Some(constant),
            _ => None,
        }
    }
}

// Nodes and their limits.
impl<'a> Parser<'a> {
    fn add(&mut self, at: usize, node: Node, children: &[NodeId]) -> Parsed {
        self.count(at)?;
        let below = children.iter().filter_map(|child| self.depths.get(*child)).max();
        let depth = below.map_or(1, |depth| depth + 1);
        if depth > FILTER_DEPTH_MAX {
            return Err(FilterError::TooDeep { at });
        }
        self.nodes.push(node);
        self.depths.push(depth);
        Ok(Piece { id: self.nodes.len() - 1, at })
    }

    fn count(&mut self, at: usize) -> Result<(), FilterError> {
        self.terms += 1;
        if self.terms > FILTER_TERMS_MAX {
            return Err(FilterError::TooManyTerms { at });
        }
        Ok(())
    }

    /// Goes on inside parentheses or behind a sign.
    fn deeper(&mut self, inner: fn(&mut Self) -> Parsed) -> Parsed {
        if self.open >= FILTER_DEPTH_MAX {
            return Err(FilterError::TooDeep { at: self.at() });
        }
        self.open += 1;
        let piece = inner(self);
        self.open -= 1;
        piece
    }
}

// Tokens.
impl<'a> Parser<'a> {
    fn located(&self, ahead: usize) -> Option<&Located<'a>> {
        self.tokens.get(self.next + ahead).or(self.tokens.last())
    }

    fn token(&self) -> &Token<'a> {
        self.located(0).map_or(&Token::End, |located| &located.token)
    }

    fn at(&self) -> usize {
        self.located(0).map_or(0, |located| located.at)
    }

    fn is_word(&self, ahead: usize, word: &str) -> bool {
        let token = self.located(ahead).map(|located| &located.token);
        matches!(token, Some(Token::Word(found)) if found.eq_ignore_ascii_case(word))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_it = self.is_word(0, word);
        self.next += usize::from(is_it);
        is_it
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let is_it = matches!(self.token(), Token::Sign(found) if *found == sign);
        self.next += usize::from(is_it);
        is_it
    }

    fn expect_sign(&mut self, sign: &'static str) -> Result<(), FilterError> {
        if self.take_sign(sign) { Ok(()) } else { Err(self.unexpected(sign)) }
    }

    fn expect_text(&mut self) -> Result<String, FilterError> {
        let Token::Text(text) = self.token() else { return Err(self.unexpected(TEXT)) };
        let text = text.clone();
        self.next += 1;
        Ok(text)
    }

    fn unexpected(&self, expected: &'static str) -> FilterError {
        let found = self.located(0).map_or("", |located| located.text);
        let shown: String = found.chars().take(FILTER_ERROR_SHOWN_CHARACTERS_MAX).collect();
        FilterError::Syntax { at: self.at(), expected, found: shown }
    }
}
