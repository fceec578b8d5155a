//! Calls of `predict`: whether the model is there, and whether it is given the features it was trained on.

use datafusion_sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned, Value, ValueWithSpan,
};

use super::Judge;
use crate::diagnostic::{choices, suggest};
use crate::sql::contract::normal;

impl Judge<'_> {
    pub(super) fn prediction(&mut self, function: &Function) {
        let FunctionArguments::List(list) = &function.args else { return };
        let arguments: Vec<Option<&Expr>> = list
            .args
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
                _ => None,
            })
            .collect();
        let Some(Some(Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(written), span }))) =
            arguments.first()
        else {
            let message = "predict() takes the name of a model as text in quotes first";
            self.refuse(function.span(), message, "write predict('name', feature, …)");
            return;
        };
        let models = self.catalog.models();
        let (model, _) = match models.find(written) {
            Ok(found) => found,
            Err(message) => {
                let names = || models.sound.keys().map(String::as_str);
                let help = match suggest(written, names()) {
                    Some(near) if near != written => format!("did you mean '{near}'?"),
                    _ if models.sound.is_empty() => {
                        "put the model's file into models/ in the rules folder; a file that is broken is not there"
                            .to_owned()
                    }
                    _ => format!("models are {}", choices(names())),
                };
                self.refuse(*span, &message, &help);
                return;
            }
        };
        let given = arguments.len() - 1;
        if given != model.features {
            let message = format!("model '{written}' takes {} features and is given {given}", model.features);
            let help = match model.feature_names.is_empty() {
                true => "give the columns that it was trained on, in their order".to_owned(),
                false => {
                    format!(
                        "its features are {}",
                        choices(model.feature_names.iter().map(String::as_str).take(40))
                    )
                }
            };
            self.refuse(*span, &message, &help);
            return;
        }
        for (feature, argument) in model.feature_names.iter().zip(&arguments[1..]) {
            let (name, span) = match argument {
                Some(Expr::Identifier(name)) => (normal(name), name.span),
                Some(Expr::CompoundIdentifier(parts)) if !parts.is_empty() => {
                    (normal(&parts[parts.len() - 1]), parts[parts.len() - 1].span)
                }
                _ => continue,
            };
            let same = |other: &String| other.eq_ignore_ascii_case(&name);
            // A column that is called differently may well hold the feature; one that is another feature can't.
            if !same(feature) && model.feature_names.iter().any(same) {
                let message = format!("{name} stands where model '{written}' has its feature {feature}");
                let help = "give the features in the order in which the model was trained";
                self.refuse(span, &message, help);
            }
        }
    }
}
