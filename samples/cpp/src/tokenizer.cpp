#include "tokenizer.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <fstream>
#include <limits>
#include <regex>
#include <set>

namespace muomni {
namespace {

// How GPT-2 splits text, which "ByteLevel" with "use_regex" refers to.
constexpr const char* GPT2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

Error unknown(const std::string& what) {
    return Error("tokenizer.json has " + what + ", which is not read here", "use a model with a byte-level BPE");
}

// GPT-2's alphabet: visible characters of Latin-1 spell their byte, and those from U+0100 on the other bytes, in order.
std::unordered_map<char32_t, char> alphabet() {
    std::unordered_map<char32_t, char> made;
    char32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; byte++) {
        const bool visible = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
        made[visible ? char32_t{byte} : next++] = static_cast<char>(byte);
    }
    return made;
}

// The bytes that a token's spelling stands for. The spelling has code points of at most two bytes.
std::string bytes_of(const std::string& spelling) {
    static const auto byte_of = alphabet();
    std::string bytes;
    for (std::size_t at = 0; at < spelling.size(); at++) {
        auto point = char32_t{static_cast<unsigned char>(spelling[at])};
        if (point >= 0xc0 && at + 1 < spelling.size()) {
            point = ((point & 0x1f) << 6) | (static_cast<unsigned char>(spelling[++at]) & 0x3fu);
        }
        const auto found = byte_of.find(point);
        if (found == byte_of.end()) throw unknown("the token " + spelling);
        bytes += found->second;
    }
    return bytes;
}

struct FreeMatch {
    void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

}  // namespace

void Tokenizer::FreePattern::operator()(pcre2_real_code_8* pattern) const { pcre2_code_free(pattern); }

Tokenizer::Tokenizer(const std::filesystem::path& file, const Json& specials) {
    std::ifstream stream(file, std::ios::binary);
    if (!stream) throw Error("there is no " + file.string(), "export the model again");
    const Json parsed = Json::parse(stream);
    const Json& model = parsed.at("model");
    if (model.at("type") != "BPE") throw unknown("a model of the type " + model.at("type").dump());
    if (!parsed.value("normalizer", Json()).is_null()) throw unknown("a normalizer");
    std::set<std::int64_t> special;
    for (const Json& id : specials) special.insert(id.get<std::int64_t>());
    for (const Json& added : parsed.value("added_tokens", Json::array()))
        special.insert(added.at("id").get<std::int64_t>());
    for (const auto& [spelling, number] : model.at("vocab").items()) {
        const auto id = number.get<std::int64_t>();
        if (special.contains(id)) continue;
        bytes_[id] = bytes_of(spelling);
        ids_[bytes_[id]] = id;
    }
    for (const Json& merge : model.at("merges")) {
        std::string left, right;
        if (merge.is_string()) {  // in older files
            const std::string both = merge;
            left = both.substr(0, both.find(' '));
            right = both.substr(both.find(' ') + 1);
        } else {
            left = merge.at(0);
            right = merge.at(1);
        }
        left = bytes_of(left);
        right = bytes_of(right);
        merges_[{ids_.at(left), ids_.at(right)}] = {merges_.size(), ids_.at(left + right)};
    }
    whole_words_ = model.value("ignore_merges", false);
    if (const Json& entry = parsed.value("pre_tokenizer", Json()); !entry.is_null()) read_pre_tokenizer(entry);
}

void Tokenizer::read_pre_tokenizer(const Json& entry) {
    const std::string type = entry.at("type");
    if (type == "Sequence") {
        for (const Json& one : entry.at("pretokenizers")) read_pre_tokenizer(one);
    } else if (type == "Split" && entry.at("behavior") == "Isolated" && !entry.value("invert", false)) {
        const Json& pattern = entry.at("pattern");
        const bool literal = pattern.contains("String");
        add_pattern(pattern.at(literal ? "String" : "Regex"), literal);
    } else if (type == "Digits") {
        add_pattern(entry.value("individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)", false);
    } else if (type == "ByteLevel") {
        prefix_space_ = prefix_space_ || entry.value("add_prefix_space", false);
        if (entry.value("use_regex", true)) add_pattern(GPT2, false);
    } else {
        throw unknown("the pre-tokenizer " + type);
    }
}

void Tokenizer::add_pattern(const std::string& pattern, bool literal) {
    // Patterns are written for Oniguruma; of what they use, PCRE2 spells this alone in another way.
    static const std::regex unicode(R"(\\u([0-9A-Fa-f]{4}))");
    const std::string spelt = literal ? pattern : std::regex_replace(pattern, unicode, R"(\x{$1})");
    int code = 0;
    PCRE2_SIZE place = 0;
    Pattern made(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(spelt.data()), spelt.size(),
                               PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP), &code, &place, nullptr));
    if (!made) throw unknown("the pattern " + pattern);
    patterns_.push_back(std::move(made));
}

// The matches of a pattern, and what lies between them.
std::vector<std::string> Tokenizer::split(const Pattern& pattern, const std::string& text) const {
    std::unique_ptr<pcre2_match_data, FreeMatch> data(pcre2_match_data_create_from_pattern(pattern.get(), nullptr));
    std::vector<std::string> pieces;
    std::size_t done = 0;
    for (std::size_t at = 0; at < text.size();) {
        const int found = pcre2_match(pattern.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                      PCRE2_NOTEMPTY, data.get(), nullptr);
        if (found == PCRE2_ERROR_NOMATCH) break;
        if (found < 0) throw Error("the text cannot be split: it is not UTF-8, or too long", "give UTF-8");
        const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data.get());
        if (range[0] > done) pieces.push_back(text.substr(done, range[0] - done));
        pieces.push_back(text.substr(range[0], range[1] - range[0]));
        at = done = range[1];
    }
    if (done < text.size()) pieces.push_back(text.substr(done));
    return pieces;
}

std::vector<std::int64_t> Tokenizer::encode(const std::string& text) const {
    if (text.empty()) return {};
    std::vector<std::string> pieces{prefix_space_ && text.front() != ' ' ? " " + text : text};
    for (const Pattern& pattern : patterns_) {
        std::vector<std::string> finer;
        for (const std::string& piece : pieces) {
            for (std::string& one : split(pattern, piece)) finer.push_back(std::move(one));
        }
        pieces = std::move(finer);
    }
    std::vector<std::int64_t> ids;
    for (const std::string& piece : pieces) encode_piece(piece, ids);
    return ids;
}

// Merges the neighbors that were learned first until no merge is left.
void Tokenizer::encode_piece(const std::string& piece, std::vector<std::int64_t>& ids) const {
    if (const auto whole = ids_.find(piece); whole_words_ && whole != ids_.end()) {
        ids.push_back(whole->second);
        return;
    }
    std::vector<std::int64_t> parts;
    for (const char byte : piece) parts.push_back(ids_.at(std::string(1, byte)));
    while (parts.size() > 1) {
        Merge best{std::numeric_limits<std::size_t>::max(), 0};
        std::size_t place = 0;
        for (std::size_t at = 0; at + 1 < parts.size(); at++) {
            const auto found = merges_.find({parts[at], parts[at + 1]});
            if (found != merges_.end() && found->second.rank < best.rank) {
                best = found->second;
                place = at;
            }
        }
        if (best.rank == std::numeric_limits<std::size_t>::max()) break;
        parts[place] = best.made;
        parts.erase(parts.begin() + place + 1);
    }
    ids.insert(ids.end(), parts.begin(), parts.end());
}

std::string Tokenizer::decode(std::span<const std::int64_t> ids) const {
    std::string text;
    for (const std::int64_t id : ids) {
        if (const auto found = bytes_.find(id); found != bytes_.end()) text += found->second;
    }
    return text;
}

}  // namespace muomni
