//! `docs/from-more.md` names settings that exist, with the defaults they have.

use std::path::Path;

use moreline::config;
use serde_json::Value;

const TABLES: [&str; 4] = ["model", "data", "prompts", "responses"];

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/from-more.md");
    std::fs::read_to_string(path).expect("the page")
}

/// What stands between single backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The settings a text names: KIND.SETTING, TABLE.SETTING or site.SETTING.
fn settings(text: &str) -> Vec<(&str, &str)> {
    let split = quoted(text).into_iter().filter_map(|t| t.split_once('.'));
    split
        .filter(|(owner, _)| {
            let kinds = &config::schema()["properties"]["defaults"]["properties"];
            *owner == "site" || TABLES.contains(owner) || kinds.get(*owner).is_some()
        })
        .collect()
}

/// The schema of a setting.
fn schema_of(owner: &str, setting: &str) -> Option<Value> {
    let schema = config::schema();
    let properties = match owner {
        "site" => config::site_schema()["properties"].clone(),
        owner if TABLES.contains(&owner) => {
            schema["properties"][owner]["additionalProperties"]["properties"].clone()
        }
        kind => schema["properties"]["defaults"]["properties"][kind]["properties"].clone(),
    };
    properties.get(setting).cloned()
}

/// The rows of the page's tables of flags.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let lines = page.lines().filter(|line| line.starts_with("| "));
    let cells = lines.map(|line| {
        let inner = line.trim_matches('|');
        inner.split(" |").map(str::trim).collect::<Vec<_>>()
    });
    cells
        .filter(|cells| cells.len() == 5 && cells[0] != "flag" && !cells[0].starts_with("---"))
        .collect()
}

#[test]
fn every_setting_it_names_exists() {
    let page = page();
    let named = settings(&page);
    assert!(named.len() > 60, "{}", named.len());
    for (owner, setting) in named {
        assert!(schema_of(owner, setting).is_some(), "`{owner}.{setting}`");
    }
}

#[test]
fn its_defaults_are_the_programs() {
    let page = page();
    let rows = rows(&page);
    assert!(rows.len() > 90, "{}", rows.len());
    let mut compared = 0;
    for row in rows {
        let [(owner, setting)] = settings(row[1])[..] else {
            assert_eq!(row[3], "-", "{}: a default of no setting", row[0]);
            continue;
        };
        let schema = schema_of(owner, setting).unwrap_or_default();
        let default = match &schema["default"] {
            Value::Array(items) if items.is_empty() => &Value::Null,
            Value::Object(fields) if fields.is_empty() => &Value::Null,
            other => other,
        };
        let told = row[3];
        if ["absent", "required"].contains(&told) {
            assert_eq!(*default, Value::Null, "{owner}.{setting}");
            continue;
        }
        let told = told.trim_matches('`');
        let told = serde_json::from_str(told).unwrap_or_else(|_| Value::from(told));
        let same = match (told.as_f64(), default.as_f64()) {
            (Some(told), Some(default)) => told == default,
            _ => told == *default,
        };
        assert!(same, "{owner}.{setting}: {told} is not {default}");
        compared += 1;
    }
    assert!(compared > 35, "{compared}");
}

/// The flags of the published commands, as their code and README have them.
#[test]
fn no_flag_is_forgotten() {
    let page = page();
    let flags = "reward_domain padding_side truncation_side model_type pooling_type \
        model_name_or_path tokenizer_path max_response_num data_dir data_path train_data_path \
        eval_data_path data_prefix eval_at_start debug_mode cache_dir optim lm_loss_coeff \
        pair_data_augmentation shuffle resampling resampling_size reweight run_more more normalize alpha task_num calibration \
        active_module_name contrast_loss_coeff lm_score_thresh max_length batch_size \
        micro_batch_size valid_data_size resume_from_checkpoint logging_dir logging_strategy \
        logging_steps report_to sep_token only_predict_answer pad_labels_with_ignore \
        ignore_token_id beta do_train remove_unused_columns output_dir num_train_epochs \
        per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps \
        evaluation_strategy save_strategy learning_rate eval_steps save_steps deepspeed tf32 fp16 \
        bf16 gradient_checkpointing lr_scheduler_type warmup_ratio save_path task sample_num \
        chunk_size data_type max_new_tokens add_data_id data_path_A data_path_B task_type \
        cache_size model_max_length num_of_examples ppl_outlier_gate data_prompt_name \
        data_answer_name pair_data_prompt_name pair_data_answers_name model_A_name model_B_name \
        num_of_gpt_threads openai_api_key openai_api_base prompt_type preference_data_text_name \
        preference_data_score_name num_of_bins ece_strategy";
    let told: Vec<&str> = rows(&page)
        .into_iter()
        .flat_map(|row| quoted(row[0]))
        .filter_map(|flag| flag.split(' ').next()?.strip_prefix("--"))
        .collect();
    for flag in flags.split_whitespace() {
        assert!(told.contains(&flag), "--{flag}");
    }
    assert!(page.contains("BERT is not supported"));
}
