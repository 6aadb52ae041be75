#include <iostream>
#include <set>

#include "media.hpp"
#include "models.hpp"
#include "tokenizer.hpp"

namespace muomni {
namespace {

constexpr std::size_t LONGEST_LOOP = 8, COPIES = 4;  // of the loop guard: tokens, and how often they occur

// Embeddings (1,T,D) of a picture or a recording.
Array embed_picture(const Bundle& bundle, const std::filesystem::path& file) {
    Part part = bundle.part("image", {"encoder", "projector"});
    const std::int64_t size = part.config().at("size");
    const Picture picture = read_picture(file, part.config().value("max_pixels", std::int64_t{50'000'000}));
    const std::vector<std::uint8_t> pixels = fit_picture(picture, part.config());
    Outputs made = part.graph("encoder")(Feed{"inputs", tensor({1, 3, size, size}, pixels)});
    return floats(part.graph("projector")(Feed{"tokens", std::move(made.at("tokens"))}).at("inputs_embeds"));
}

Array embed_recording(const Bundle& bundle, const std::filesystem::path& file) {
    Part part = bundle.part("audio", {"encoder", "projector"});
    const std::vector<float> wave = read_wav(file, part.config().at("sample_rate"));
    const Recording ready = prepare_recording(wave, part.config());
    const double seconds = ready.samples.size() / part.config().at("sample_rate").get<double>();
    if (std::ssize(wave) < samples_per_token(part.config())) {
        throw Error(file.string() + " is too short", "record more");
    }
    if (seconds > part.config().at("max_seconds").get<double>()) throw Error(file.string() + " is too long", "cut it");
    const Shape shape{1, std::ssize(ready.samples)};
    Outputs made = part.graph("encoder")(Feed{"inputs", tensor(shape, ready.samples)});
    return floats(part.graph("projector")(Feed{"tokens", std::move(made.at("tokens"))}).at("inputs_embeds"));
}

// UTF-8 without a character at the end of which bytes are missing.
std::string without_unfinished(std::string text) {
    for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); back++) {
        const auto byte = static_cast<unsigned char>(text[text.size() - back]);
        if ((byte & 0xc0) == 0x80) continue;
        const std::size_t length = byte < 0xc2 || byte > 0xf4 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
        if (length > back) text.resize(text.size() - back);
        break;
    }
    return text;
}

// Token ids, of which those below 0 stand for rows of `media`: -1 is the first.
struct Prompt {
    std::vector<std::int64_t> ids;
    std::vector<float> media;
};

class Chat {
public:
    explicit Chat(const Bundle& bundle)
        : bundle_(bundle),
          settings_(bundle.manifest().at("chat")),
          specials_(bundle.manifest().at("special_tokens")),
          thinker_(bundle.part("thinker", {"embed", "thinker"})),
          tokenizer_(bundle.root() / "tokenizer" / "tokenizer.json", specials_) {
        if (!settings_.value("form", Json::object()).empty()) {
            throw Error("answers of this model have a form, which is not read here", "export it with chat.form={}");
        }
    }

    std::string answer(const Question& question) {
        Prompt prompt = lay_out(question);
        const std::size_t context = thinker_.config().at("ctx_len"), begin = prompt.ids.size();
        if (begin > context) {
            throw Error("the prompt is " + std::to_string(begin) + " tokens long, and the context holds " +
                            std::to_string(context),
                        "ask for less at once");
        }
        const std::size_t longest = settings_.value("max_tokens", std::size_t{256});
        const bool guarded = settings_.value("loop_guard", true);
        std::vector<std::int64_t>& ids = prompt.ids;
        std::optional<std::size_t> loop;  // where the second copy begins
        std::size_t done = 0;
        while (true) {
            const std::int64_t token = next_token(prompt, done);
            done = ids.size();
            if (token == special("eos")) break;
            ids.push_back(token);
            const std::string text = tokenizer_.decode(std::span(ids).subspan(begin));
            if (const std::size_t stop = first_stop(text); stop != std::string::npos) return text.substr(0, stop);
            const bool ends = ids.size() - begin >= longest || ids.size() > context;
            const bool goes_on = loop.has_value();
            if (guarded && !loop) loop = loop_in(std::span(ids).subspan(begin));
            if (loop && (goes_on || ends)) {
                ids.resize(begin + *loop);
                return without_unfinished(tokenizer_.decode(std::span(ids).subspan(begin)));
            }
            if (ends) break;
        }
        return tokenizer_.decode(std::span(ids).subspan(begin));
    }

private:
    std::int64_t special(const std::string& name) const {
        if (!specials_.contains(name)) {
            throw Error("the tokenizer has no token " + name, "export with chat.template=plain");
        }
        return specials_.at(name);
    }

    Prompt lay_out(const Question& question) const {
        const std::string layout = settings_.value("template", "plain");
        if (layout != "plain" && layout != "roles") {
            throw Error("the chat template is " + layout + ", which is not read here",
                        "export with chat.template=roles");
        }
        Prompt prompt;
        std::vector<std::int64_t> rows;  // that stand for media
        const std::int64_t context = thinker_.config().at("ctx_len");
        const auto attach = [&](const Array& embeddings, std::int64_t count) {
            const auto begin = embeddings.values.begin();
            prompt.media.insert(prompt.media.end(), begin, begin + count * embeddings.shape.back());
            for (std::int64_t n = 0; n < count; n++) rows.push_back(-1 - std::ssize(rows));
        };
        if (question.image) {
            const Array embeddings = embed_picture(bundle_, *question.image);
            const std::int64_t made = embeddings.shape.at(1);
            if (made > context / 2) {
                throw Error("a picture fills over half of the context", "use a model with a longer one");
            }
            attach(embeddings, made);
        }
        if (question.audio) {
            const Array embeddings = embed_recording(bundle_, *question.audio);
            const std::int64_t made = embeddings.shape.at(1), used = std::min(made, context / 4);
            if (used < made) std::cerr << "used: the first " << used << " of " << made << " tokens of the recording\n";
            attach(embeddings, used);
        }
        const std::string system = settings_.value("system", "");
        if (!system.empty()) add_turn(prompt, layout, "system", system, {});
        add_turn(prompt, layout, "user", question.text, rows);
        if (layout == "roles") prompt.ids.push_back(special("assistant"));
        return prompt;
    }

    void add_turn(Prompt& prompt, const std::string& layout, const std::string& role, const std::string& text,
                  const std::vector<std::int64_t>& media) const {
        const bool first = prompt.ids.empty(), plain = layout == "plain";
        const auto add = [&](const std::vector<std::int64_t>& more) {
            prompt.ids.insert(prompt.ids.end(), more.begin(), more.end());
        };
        if (plain) add(media);
        if (first && specials_.contains("bos")) add({special("bos")});
        if (!plain) add({special(role)});
        if (!plain) add(media);
        add(tokenizer_.encode(plain && !first ? "\n" + text : text));
    }

    // The most likely token after the prompt, of which the graph has seen the first `done` ids.
    std::int64_t next_token(const Prompt& prompt, std::size_t done) {
        const std::span fresh = std::span(prompt.ids).subspan(done);
        std::vector<std::int64_t> plain;
        for (const std::int64_t id : fresh) plain.push_back(std::max<std::int64_t>(id, 0));
        const Shape shape{1, std::ssize(plain)};
        Array embeddings = floats(thinker_.graph("embed")(Feed{"input_ids", tensor(shape, plain)}).at("inputs_embeds"));
        const std::int64_t width = embeddings.shape.back();
        for (std::int64_t n = 0; n < std::ssize(fresh); n++) {
            if (fresh[n] >= 0) continue;
            const auto row = prompt.media.begin() + width * (-1 - fresh[n]);
            std::copy(row, row + width, embeddings.values.begin() + width * n);
        }
        Array logits = floats(thinker_.graph("thinker")(Feed{"inputs_embeds", tensor(embeddings)}).at("logits"));
        const auto last = logits.last_row();
        std::vector<float> scores(last.begin(), last.end());
        const float penalty = settings_.value("repetition_penalty", 1.0f);
        for (const std::int64_t id : std::set<std::int64_t>(prompt.ids.begin(), prompt.ids.end())) {
            if (id < 0) continue;
            float& score = scores.at(id);
            score = score > 0 ? score / penalty : score * penalty;
        }
        return argmax(scores);
    }

    std::size_t first_stop(const std::string& text) const {
        std::size_t first = std::string::npos;
        for (const std::string stop : settings_.value("stop", Json::array())) {
            if (!stop.empty()) first = std::min(first, text.find(stop));
        }
        return first;
    }

    // Where the second copy begins of tokens that occur four times in a row at the end.
    std::optional<std::size_t> loop_in(std::span<const std::int64_t> ids) const {
        for (std::size_t n = 1; n <= LONGEST_LOOP && n < ids.size(); n++) {
            std::size_t alike = 0;  // tokens at the end that are those n places before them
            while (alike + n < ids.size() && ids[ids.size() - 1 - alike] == ids[ids.size() - 1 - alike - n]) alike++;
            const std::string copy = tokenizer_.decode(ids.last(n));
            const bool digits = !copy.empty() && copy.find_first_not_of("0123456789") == std::string::npos;
            if (alike >= (digits ? COPIES * LONGEST_LOOP - n : (COPIES - 1) * n)) return ids.size() - alike;
        }
        return std::nullopt;
    }

    const Bundle& bundle_;
    const Json& settings_;
    const Json& specials_;
    Part thinker_;
    Tokenizer tokenizer_;
};

}  // namespace

std::string chat(const Bundle& bundle, const Question& question) { return Chat(bundle).answer(question); }

}  // namespace muomni
