/**
 * Keys of a tokenizer's files that change no token here, each with the reason. Every other key is honoured, or its value is refused.
 * A path's parts are joined by dots; * stands for any part. test/tokenizer/mutated-files.test.ts and gguf-keys.test.ts go by this list.
 */
export const IGNORED_KEYS: Readonly<Record<string, string>> = {
  "tokenizer.json: version": "There is one.",
  "tokenizer.json: truncation":
    "A text that is too long is refused, never cut; transformers does not cut unless it is told to.",
  "tokenizer.json: padding": "Texts are not padded; transformers does not pad unless it is told to.",
  "tokenizer.json: pre_tokenizer.trim_offsets": "Changes offsets, which nobody sees.",
  "tokenizer.json: decoder.add_prefix_space": "ByteLevel looks at it where it encodes.",
  "tokenizer.json: decoder.trim_offsets": "Changes offsets, which nobody sees.",
  "tokenizer.json: decoder.use_regex": "ByteLevel looks at it where it encodes.",
  "tokenizer.json: post_processor.pair": "For pairs of texts, of which there are none here.",
  "tokenizer.json: post_processor.*.type_id": "Token types are for models with pairs of texts.",
  "tokenizer_config.json: tokenizer_class": "tokenizer.json holds the pipeline that the class would build.",
  "tokenizer_config.json: legacy": "tokenizer.json holds the pipeline that it would change.",
  "tokenizer_config.json: add_prefix_space": "tokenizer.json says it.",
  "tokenizer_config.json: add_bos_token":
    "transformers 5 drops it where there is a tokenizer.json, whose post_processor says it.",
  "tokenizer_config.json: add_eos_token":
    "transformers 5 drops it where there is a tokenizer.json, whose post_processor says it.",
  "tokenizer_config.json: do_lower_case": "tokenizer.json says it.",
  "tokenizer_config.json: split_special_tokens": "parseSpecialTokens says it, at each call.",
  "tokenizer_config.json: clean_up_tokenization_spaces": "Off: it takes blanks away that belong to the text.",
  "tokenizer_config.json: model_max_length": "The model's own context length counts.",
  "tokenizer_config.json: padding_side": "Texts are not padded.",
  "tokenizer_config.json: truncation_side": "Texts are not cut.",
  "tokenizer.ggml.scores": "Of byte-level tokenizers, which have merges.",
  "tokenizer.ggml.merges": "Of SentencePiece tokenizers, which have scores.",
  "tokenizer.ggml.pre": "Of SentencePiece tokenizers, which have one way to split.",
  "tokenizer.ggml.add_space_prefix":
    "Of byte-level tokenizers; llama.cpp looks at it for SentencePiece alone.",
  "tokenizer.ggml.add_sep_token": "For BERT, which is not supported.",
  "tokenizer.ggml.remove_extra_whitespaces": "For T5, which is not supported.",
  "tokenizer.ggml.precompiled_charsmap": "For T5, which is not supported.",
  "tokenizer.ggml.token_type_count": "For BERT, which is not supported.",
  "tokenizer.ggml.seperator_token_id": "For BERT, which is not supported.",
  "tokenizer.ggml.cls_token_id": "For BERT, which is not supported.",
  "tokenizer.ggml.mask_token_id": "For BERT, which is not supported.",
  "tokenizer.ggml.unknown_token_id":
    "Of byte-level tokenizers, for which no text is unknown; a name for templates.",
  "tokenizer.ggml.padding_token_id": "Texts are not padded; a name for templates.",
  "tokenizer.ggml.added_tokens": "token_type says it.",
  "tokenizer.huggingface.json": "The same tokenizer once more.",
};
