//! Other names for needs: an expression of an included file, as the workflow calls its nodes. Knows the spellings of
//! `needs.<node>`, not where the names come from.

use std::collections::HashMap;
use std::ops::Range;

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};

use super::program::{Expression, Form, Tree};
use super::{Condition, Part, Template};

impl Template {
    /// The same with other names for nodes. Names that are not in the map stay.
    #[must_use]
    pub(in crate::workflow) fn renamed(&self, names: &HashMap<String, String>) -> Self {
        let reads_needs = self.references().iter().any(|path| path.root() == "needs");
        let Some(parts) = self.parts.as_deref().filter(|_| reads_needs && !names.is_empty()) else {
            return self.clone();
        };
        let places = parts.list.iter().flat_map(|part| match part {
            Part::Text(_) => Vec::new(),
            Part::Expression(start, expression) => moved(need_places(expression), *start),
        });
        Self::compile(&replaced(&self.source, places, names)).unwrap_or_else(|_| self.clone())
    }
}

impl Condition {
    /// The same with other names for nodes. Names that are not in the map stay.
    #[must_use]
    pub(in crate::workflow) fn renamed(&self, names: &HashMap<String, String>) -> Self {
        let Some(expression) = self.expression.as_deref().filter(|_| !names.is_empty()) else {
            return self.clone();
        };
        let text = replaced(&expression.text, need_places(expression).into_iter(), names);
        Self::compile(&text).unwrap_or_else(|_| self.clone())
    }
}

/// The name of a node in an expression, with its bytes in the expression's text, quotes not among them.
struct Place {
    name: String,
    range: Range<usize>,
}

/// Everywhere that `needs.<node>` or `needs["<node>"]` is written, in the order of the text.
fn need_places(expression: &Expression) -> Vec<Place> {
    let mut places = Vec::new();
    match &expression.form {
        Form::Path(path) => {
            if let [root, name, ..] = path.segments()
                && root == "needs"
            {
                let start = root.len() + 1;
                places.push(Place { name: name.clone(), range: start..start + name.len() });
            }
        }
        Form::Cel(tree) => walk(tree, &expression.text, &tree.root, &mut Vec::new(), &mut places),
    }
    places.sort_by_key(|place| place.range.start);
    places
}

fn walk<'e>(tree: &Tree, text: &str, node: &'e IdedExpr, locals: &mut Vec<&'e str>, places: &mut Vec<Place>) {
    let is_needs = |node: &IdedExpr, locals: &[&str]| {
        matches!(&node.expr, Expr::Ident(name) if name == "needs") && !locals.contains(&"needs")
    };
    let mut put = |name: &str, within: Range<usize>| {
        // A quoted name stands somewhere in its token.
        if let Some(at) = text.get(within.clone()).and_then(|token| token.find(name)) {
            let start = within.start + at;
            places.push(Place { name: name.to_owned(), range: start..start + name.len() });
        }
    };
    match &node.expr {
        Expr::Select(select) => {
            if is_needs(&select.operand, locals) {
                put(&select.field, tree.field_place(node.id, &select.field));
            }
            walk(tree, text, &select.operand, locals, places);
        }
        Expr::Call(call) => {
            if let (operators::INDEX, [base, index]) = (call.func_name.as_str(), call.args.as_slice())
                && let Expr::Literal(LiteralValue::String(name)) = &index.expr
                && is_needs(base, locals)
            {
                put(name.inner(), tree.place(index.id));
            }
            for part in call.target.as_deref().into_iter().chain(&call.args) {
                walk(tree, text, part, locals, places);
            }
        }
        Expr::Comprehension(inner) => {
            walk(tree, text, &inner.iter_range, locals, places);
            walk(tree, text, &inner.accu_init, locals, places);
            locals.push(&inner.iter_var);
            for part in [&inner.loop_cond, &inner.loop_step, &inner.result] {
                walk(tree, text, part, locals, places);
            }
            locals.pop();
        }
        Expr::List(list) => list.elements.iter().for_each(|item| walk(tree, text, item, locals, places)),
        Expr::Map(map) => {
            for part in map.entries.iter().flat_map(|entry| super::program::entry_parts(&entry.expr)) {
                walk(tree, text, part, locals, places);
            }
        }
        Expr::Struct(_) | Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
    }
}

fn moved(places: Vec<Place>, by: usize) -> Vec<Place> {
    let shift = |place: Place| Place { range: place.range.start + by..place.range.end + by, ..place };
    places.into_iter().map(shift).collect()
}

fn replaced(text: &str, places: impl Iterator<Item = Place>, names: &HashMap<String, String>) -> String {
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for place in places {
        if let Some(name) = names.get(&place.name)
            && place.range.start >= at
        {
            out.push_str(&text[at..place.range.start]);
            out.push_str(name);
            at = place.range.end;
        }
    }
    out.push_str(&text[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let names = HashMap::from([("fmt".to_owned(), "lint-fmt".to_owned())]);
        let template = Template::compile(text).unwrap();
        assert_eq!(template.renamed(&names).source(), expect);
        if let Ok(condition) = Condition::compile(text) {
            let expect = expect.trim_start_matches("${{").trim_end_matches("}}").trim();
            assert_eq!(condition.renamed(&names).source(), expect);
        }
    }

    #[test]
    fn needs_get_other_names_in_every_spelling() {
        check("${{ needs.fmt.outputs.x }}", "${{ needs.lint-fmt.outputs.x }}");
        check(
            "a ${{ needs.fmt.status }} ${{ needs.b.status }}",
            "a ${{ needs.lint-fmt.status }} ${{ needs.b.status }}",
        );
        check(
            "${{ needs[\"fmt\"].outputs.a + needs.fmt.outputs.fmt }}",
            "${{ needs[\"lint-fmt\"].outputs.a + needs.lint-fmt.outputs.fmt }}",
        );
        check("${{ needs['fmt'].commit }}", "${{ needs['lint-fmt'].commit }}");
        check(
            "${{ [1].map(x, needs.fmt.outputs.n)[0] == needs.fmt.status }}",
            "${{ [1].map(x, needs.lint-fmt.outputs.n)[0] == needs.lint-fmt.status }}",
        );
        check(
            "${{ has(needs.fmt.outputs) ? \"needs.fmt\" : \"fmt\" }}",
            "${{ has(needs.lint-fmt.outputs) ? \"needs.fmt\" : \"fmt\" }}",
        );
        check("${{ inputs.fmt }}", "${{ inputs.fmt }}");
        check("${{ [1].map(needs, needs)[0] }}", "${{ [1].map(needs, needs)[0] }}");
    }
}
