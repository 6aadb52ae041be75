"""What settings are called elsewhere, so that a name from another tool leads to ours. Plain data; knows no recipe."""

from __future__ import annotations

from collections.abc import Collection, Mapping

USUAL: Mapping[str, tuple[str, ...]] = {
    name: tuple(ours.split())
    for names, ours in (
        ("epochs num_epochs n_epochs num_train_epochs max_epochs max_steps n_steps num_steps total_steps "
         "iterations iters max_iters num_iters num_iterations train_steps", "steps"),
        ("learning_rate learningrate lrate max_lr base_lr peak_lr", "lr"),
        ("batch bs batchsize minibatch mini_batch_size train_batch_size per_device_train_batch_size", "batch_size"),
        ("warmup warmup_ratio warmup_iters num_warmup_steps warmup_epochs warm_up", "warmup_steps"),
        ("grad_clip max_grad_norm gradient_clip gradient_clipping clip_norm clip_grad clip_grad_norm", "clip"),
        ("wd decay_weights weightdecay l2", "weight_decay"),
        ("gradient_accumulation_steps gradient_accumulation grad_accum grad_accum_steps accum_steps "
         "accumulate_grad_batches accumulation_steps", "accumulate"),
        ("dtype mixed_precision amp bf16 fp16 autocast torch_dtype", "precision"),
        ("eval_every eval_interval eval_steps validate_every val_interval val_check_interval evaluation_steps",
         "val_every"),
        ("eval_iters eval_batches", "val_batches"),
        ("save_steps save_interval checkpoint_every ckpt_every checkpoint_interval", "save_every"),
        ("logging_steps log_interval log_steps print_every", "log_every"),
        ("sample_interval sample_steps", "sample_every"),
        ("optim opt optimiser", "optimizer"),
        ("lr_scheduler lr_scheduler_type scheduler lr_schedule lr_decay", "schedule"),
        ("min_learning_rate lr_min final_lr eta_min", "min_lr"),
        ("ema_decay use_ema", "ema"),
        ("torch_compile", "compile"),
        ("gradient_checkpointing activation_checkpointing grad_checkpointing", "checkpoint_activations"),
        ("num_workers workers n_workers num_threads n_threads cpus", "threads"),
        ("adam_eps adam_epsilon epsilon", "eps"),
        ("adam_betas beta1 beta2 adam_beta1 adam_beta2", "betas"),
        ("resume_from init_from pretrained from_pretrained", "init"),
        ("gpu cuda accelerator", "device"),
        ("random_seed random_state manual_seed rng_seed", "seed"),
        ("hidden_size hidden_dim dim n_embd n_embed embed_dim embedding_dim d_embed emb_dim model_dim width "
         "d_hidden n_state", "d_model width channels"),
        ("num_layers layers n_layer num_hidden_layers depth n_blocks num_blocks nlayers", "n_layers layers"),
        ("num_heads n_head heads num_attention_heads nhead nheads", "n_heads"),
        ("n_kv_head num_kv_heads num_key_value_heads kv_heads", "n_kv_heads"),
        ("intermediate_size ffn_dim ff_dim mlp_dim d_inner d_mlp dim_feedforward ffn_hidden_size", "d_ff"),
        ("max_seq_len max_seq_length max_len block_size seq_len seq_length sequence_length context_length ctx "
         "context_size context n_ctx n_positions max_position_embeddings window", "ctx_len"),
        ("vocab vocabulary n_vocab vocabulary_size num_tokens", "vocab_size"),
        ("tie_weights tie_word_embeddings tied weight_tying", "tie_embeddings"),
        ("rope_base theta", "rope_theta"),
        ("image_size img_size resolution", "size"),
        ("patch_size", "patch"),
        ("hop_length", "hop"),
        ("mels num_mels mel_bins n_mel_channels num_mel_bins", "n_mels"),
        ("sr sampling_rate samplerate", "sample_rate"),
        ("n_codebooks num_codebooks num_quantizers n_q", "codebooks"),
        ("temp", "temperature"),
        ("max_new_tokens n_predict num_predict", "max_tokens"),
        ("topk", "top_k"),
        ("topp nucleus", "top_p"),
        ("rep_penalty", "repetition_penalty"),
        ("system_prompt", "system"),
        ("stop_sequences eos", "stop"),
        ("validation_split val_split test_size val_ratio val_size", "val_fraction"),
        ("file files filename folder dir directory data_dir data_path", "path"),
        ("max_length", "ctx_len max_tokens"),
    )
    for name in names.split()
}  # fmt: skip
"""What others say -> what it is called here; the first of them that a table has is meant."""

NOTES: Mapping[str, str] = {
    "epochs": "one epoch is the number of training examples divided by batch_size",
    "warmup_ratio": "in steps: the ratio times steps",
}
"""What to know besides the name, by the name that was written."""


def usual(name: str, names: Collection[str]) -> str | None:
    """What ``name`` is called here, if other tools use it for one of ``names``."""
    plain = name.strip().lower().replace("-", "_")
    return next((one for one in USUAL.get(plain, ()) if one in names and one != name), None)


def note_on(name: str) -> str:
    """What to add to the suggestion, in brackets; empty if there is nothing."""
    plain = name.strip().lower().replace("-", "_").removeprefix("num_").removeprefix("n_")
    return f" ({NOTES[plain]})" if plain in NOTES else ""
