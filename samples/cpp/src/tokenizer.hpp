// The byte-level BPE of tokenizer.json (Sennrich et al., arXiv:1508.07909).
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "bundle.hpp"

struct pcre2_real_code_8;

namespace muomni {

class Tokenizer {
public:
    // Error: the file describes another kind of tokenizer. `specials`: name -> id.
    Tokenizer(const std::filesystem::path& file, const Json& specials);

    // Text that spells a special token is ordinary text. Error: the text is not UTF-8.
    std::vector<std::int64_t> encode(const std::string& text) const;

    // Bytes, which end in the middle of a character if the tokens do. Special tokens have none.
    std::string decode(std::span<const std::int64_t> ids) const;

private:
    struct FreePattern {
        void operator()(pcre2_real_code_8* pattern) const;
    };
    using Pattern = std::unique_ptr<pcre2_real_code_8, FreePattern>;
    struct Merge {
        std::size_t rank;
        std::int64_t made;
    };

    void read_pre_tokenizer(const Json& entry);
    void add_pattern(const std::string& pattern, bool literal);
    std::vector<std::string> split(const Pattern& pattern, const std::string& text) const;
    void encode_piece(const std::string& piece, std::vector<std::int64_t>& ids) const;

    std::unordered_map<std::string, std::int64_t> ids_;  // bytes -> id
    std::unordered_map<std::int64_t, std::string> bytes_;
    std::map<std::pair<std::int64_t, std::int64_t>, Merge> merges_;
    std::vector<Pattern> patterns_;
    bool whole_words_ = false;  // a piece that is a token is not merged from bytes
    bool prefix_space_ = false;
};

}  // namespace muomni
