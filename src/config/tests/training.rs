//! Messages about trainings, as a user sees them.

message!(
    a_step_that_is_none,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
save_every = 50
[stage.eval]
kind = "evaluate-reward"
data = "two"
model = "rm@50"
"#
);

message!(
    a_step_between_those_given,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
save_every = 50
[stage.eval]
kind = "evaluate-reward"
data = "two"
model = "rm@step-75"
"#
);

message!(
    a_step_after_the_end,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
save_every = 50
steps = 120
[stage.eval]
kind = "evaluate-reward"
data = "two"
model = "rm@step-150"
"#
);

message!(
    a_step_of_a_training_that_gives_none,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
[stage.eval]
kind = "evaluate-reward"
data = "two"
model = "rm@step-75"
"#
);

message!(
    a_step_of_a_model,
    r#"[stage.rm]
kind = "train-reward"
model = "base@step-10"
data = "one"
"#
);

message!(
    a_step_of_a_stage_that_trains_nothing,
    r#"[stage.gen]
kind = "generate"
model = "base"
prompts = "ask"
[stage.rm]
kind = "sft"
model = "gen@step-5"
data = "ask"
"#
);

message!(
    evaluation_settings_without_sets,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
patience = 3
keep_best = true
evaluate_every = 10
"#
);

message!(
    a_set_evaluated_on_twice,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
evaluate_on = ["two", "two"]
"#
);

message!(
    prompts_to_evaluate_a_reward_model_on,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
evaluate_on = "ask"
"#
);

message!(
    wrong_adapters,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
lora = { rank = 0, alpha = 16 }
[stage.dropout]
kind = "train-reward"
model = "base"
data = "one"
lora = { rank = 8, alpha = 16, dropout = 0.1 }
[stage.no-alpha]
kind = "train-reward"
model = "base"
data = "one"
lora = { rank = 8 }
[stage.tuned]
kind = "sft"
model = "base"
data = "ask"
lora = { rank = 8, alpha = 16, targets = ["q", "query"] }
[stage.number]
kind = "sft"
model = "base"
data = "ask"
lora = 8
"#
);

message!(
    adapters_of_nothing,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
train_blocks = 0
lora = { rank = 8, alpha = 16, targets = ["q", "v", "q"] }
"#
);

message!(
    wrong_training_settings,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
margin = -1.0
centring = -0.1
lm_loss = "much"
recompute_every = 0
max_shard_mb = 0
export_precision = "fp16"
warmup_steps = -1
[stage.tuned]
kind = "sft"
model = "base"
data = "ask"
label_smoothing = 1.5
decay_norms = "no"
freeze_embedding = 1
train_blocks = -1
"#
);

message!(
    a_decay_that_overlaps_the_warm_up,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
schedule = "wsd"
warmup_ratio = 0.4
decay_ratio = 0.7
[stage.tuned]
kind = "sft"
model = "base"
data = "ask"
schedule = "wsd"
steps = 10
warmup_steps = 8
decay_ratio = 0.3
"#
);

message!(
    wrong_settings_of_several_models,
    r#"[stage.rm]
kind = "train-reward"
model = "base"
data = "one"
[stage.eval]
kind = "evaluate-reward"
data = "two"
model = ["rm", "rm"]
bins = [10, 5, 10]
[stage.alone]
kind = "evaluate-reward"
data = "two"
model = "rm"
combine = "min"
[stage.none]
kind = "evaluate-reward"
data = "two"
model = []
[stage.wrong]
kind = "evaluate-reward"
data = "two"
model = ["rm", "one"]
bins = 0
combine = "median"
"#
);
