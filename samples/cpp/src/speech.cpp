#include <cctype>
#include <cmath>
#include <sstream>
#include <string_view>

#include "models.hpp"

namespace muomni {
namespace {

constexpr std::string_view ALPHABET = "abcdefghijklmnopqrstuvwxyz' .,?!;:-";
constexpr std::int64_t MOST_WORDS = 40, MOST_LETTERS = 400;  // of a sentence
constexpr std::int64_t ENOUGH_WORDS = 25;                    // after which a sentence ends at any mark

using Codes = std::vector<std::int64_t>;  // (T,Q)

bool is_letter(char symbol) { return symbol >= 'a' && symbol <= 'z'; }

struct Sentence {
    std::string text;
    std::int64_t words = 0, letters = 0;
};

// The sentences of a text in lower case. What is not in the alphabet becomes a space, and is added to `unspoken`.
std::vector<Sentence> sentences_of(const std::string& text, std::string& unspoken) {
    std::string plain;
    for (const char written : text) {
        const auto byte = static_cast<unsigned char>(written);
        const char lower = static_cast<char>(std::tolower(byte));
        const bool known = ALPHABET.find(lower) != std::string_view::npos;
        if (!known && !std::isspace(byte)) unspoken += written;
        plain += known ? lower : ' ';
    }
    std::vector<Sentence> made;
    bool open = false;
    std::istringstream words(plain);
    for (std::string word; words >> word;) {
        const std::int64_t letters = std::count_if(word.begin(), word.end(), is_letter);
        if (letters == 0 && !open) continue;  // marks without a word
        const bool full = open && (made.back().words == MOST_WORDS || made.back().letters + letters > MOST_LETTERS);
        if (!open || full) made.emplace_back();
        Sentence& last = made.back();
        last.text += (last.text.empty() ? "" : " ") + word;
        last.words++;
        last.letters += std::ssize(word);
        const bool ends = std::string_view(".?!").find(word.back()) != std::string_view::npos;
        open = !ends && (last.words < ENOUGH_WORDS || is_letter(word.back()) || word.back() == '\'');
    }
    return made;
}

// Which symbol each slot of the plan is of, and how many slots of that symbol lie before and after it.
struct Slots {
    std::vector<std::int64_t> symbol, elapsed, left;

    void add(std::int64_t place, std::int64_t count) {
        for (std::int64_t n = 0; n < count; n++) {
            symbol.push_back(place);
            elapsed.push_back(n);
            left.push_back(count - 1 - n);
        }
    }
};

class Talker {
public:
    explicit Talker(const Bundle& bundle) : part_(bundle.part("talker")) {}

    // The code frames of one sentence.
    Codes say(const Sentence& sentence) {
        const Array plan = plan_of(sentence.text);
        const std::int64_t bound = std::max(30 * sentence.words, 6 * sentence.letters);
        const std::int64_t most = std::clamp<std::int64_t>(bound, 50, 1000), context = part_.config().at("ctx_len");
        const std::int64_t frames = std::min({plan.shape.at(1), most, context}), width = plan.shape.at(2);
        const std::span given = std::span(plan.values).first(frames * width);
        Array all;
        if (part_.has("whole")) {
            const Shape shape{1, frames, width};
            all = floats(part_.graph("whole")(Feed{"plan", tensor(shape, given)}).at("states"));
        } else {
            part_.graph("step").reset();
        }
        Codes codes, before(codebooks(), 0);
        for (std::int64_t t = 0; t < frames; t++) {
            if (part_.has("whole")) {
                before = draw(std::span(all.values).subspan(t * width, width));
            } else {
                Outputs made =
                    part_.graph("step")(Feed{"before", tensor({1, 1, codebooks()}, before)},
                                        Feed{"plan", tensor({1, 1, width}, given.subspan(t * width, width))});
                before = draw(floats(made.at("states")).last_row());
            }
            codes.insert(codes.end(), before.begin(), before.end());
        }
        return codes;
    }

    std::int64_t codebooks() const { return part_.entry.at("codes").at("codebooks"); }

private:
    // (1,T,D): what each code frame is to sound like.
    Array plan_of(const std::string& text) {
        Codes ids{1};
        for (const char symbol : text) ids.push_back(3 + ALPHABET.find(symbol));
        ids.push_back(2);
        const auto count = std::ssize(ids);
        std::vector<Feed> feeds;
        feeds.push_back({"ids", tensor({1, count}, ids)});
        feeds.push_back({"voice", tensor({1}, Codes{0})});
        if (const std::int64_t width = part_.entry.at("thinker_width"); width > 0) {
            const std::vector<float> silent(count * width, 0.0f);
            feeds.push_back({"thoughts", tensor({1, count, width}, silent)});
        }
        Outputs read = part_.graph("reader").run(std::move(feeds));
        Slots slots;
        double clock = 0;
        const std::vector<float> durations = floats(read.at("durations")).values;
        for (std::int64_t place = 0; place < std::ssize(durations); place++) {
            clock += durations[place];
            slots.add(place, std::llrint(clock) - std::ssize(slots.symbol));
        }
        const std::int64_t each = part_.config().at("subframes"), total = std::ssize(slots.symbol);
        slots.add(count - 1, (each - total % each) % each);
        const Shape shape{1, std::ssize(slots.symbol) / each, each};
        Outputs made = part_.graph("framer")(
            Feed{"features", std::move(read.at("features"))}, Feed{"symbol", tensor(shape, slots.symbol)},
            Feed{"elapsed", tensor(shape, slots.elapsed)}, Feed{"left", tensor(shape, slots.left)});
        return floats(made.at("plan"));
    }

    // The codes of one frame, each the most likely after those before it.
    Codes draw(std::span<const float> state) {
        Codes codes;
        for (std::int64_t q = 0; q < codebooks(); q++) {
            std::vector<Feed> feeds;
            feeds.push_back({"states", tensor({1, std::ssize(state)}, state)});
            if (q > 0) feeds.push_back({"codes", tensor({1, q}, codes)});
            const Array logits = floats(part_.graph("head" + std::to_string(q)).run(std::move(feeds)).at("logits"));
            codes.push_back(argmax(logits.values));
        }
        return codes;
    }

    Part part_;
};

// (T,Q) codes -> (1,M,F) log-mel.
Array decode(const Bundle& bundle, Codes codes, std::int64_t codebooks) {
    Part codec = bundle.part("codec", {"decoder"});
    const std::int64_t late = codec.config().at("lookahead"), frames = std::ssize(codes) / codebooks;
    std::vector<float> real(frames, 1.0f);
    real.resize(frames + late, 0.0f);
    codes.resize((frames + late) * codebooks, 0);
    const std::int64_t length = frames + late;
    Outputs made = codec.graph("decoder")(Feed{"codes", tensor({1, length, codebooks}, codes)},
                                          Feed{"real", tensor({1, length}, real)});
    Array mel = floats(made.at("mel"));
    const std::int64_t dropped = late * codec.config().at("frame").get<std::int64_t>();
    mel.values.erase(mel.values.begin(), mel.values.begin() + dropped * mel.shape.at(2));
    mel.shape.at(1) -= dropped;
    return mel;
}

// (1,M,F) log-mel -> (M * hop,) samples.
std::vector<float> vocode(const Bundle& bundle, Array mel) {
    Part part = bundle.part("vocoder");
    const Json& settings = part.entry.at("mel");
    const std::int64_t hop = settings.at("hop"), count = mel.shape.at(1) * hop, bins = mel.shape.at(2);
    std::int64_t drop = settings.at("window").get<std::int64_t>() / 2;
    Outputs made;
    if (part.entry.at("use") == "vocos") {
        const std::int64_t late = part.config().at("lookahead");
        const float silence = std::log(settings.at("mel_floor").get<double>());
        mel.values.resize(mel.values.size() + late * bins, silence);
        mel.shape.at(1) += late;
        std::vector<float> real(mel.shape.at(1), 1.0f);
        std::fill_n(real.begin(), late, 0.0f);
        drop += late * hop;
        made = part.graph("vocoder")(Feed{"mel", tensor(mel)}, Feed{"real", tensor({1, mel.shape.at(1)}, real)});
    } else if (part.entry.at("use") == "griffin-lim") {
        made =
            part.graph("vocoder")(Feed{"mel", tensor(mel)}, Feed{"ahead", tensor({1, 0, bins}, std::vector<float>{})});
    } else {
        throw Error("the vocoder is " + part.entry.at("use").dump() + ", which is not known here",
                    "use a newer muomni_min");
    }
    std::vector<float> samples = floats(made.at("samples")).values;
    const std::vector<float> rest = floats(made.at("rest")).values;
    samples.insert(samples.end(), rest.begin(), rest.end());
    samples.erase(samples.begin(), samples.begin() + std::min(drop, std::ssize(samples)));
    samples.resize(count, 0.0f);
    return samples;
}

}  // namespace

Speech speak(const Bundle& bundle, const std::string& text) {
    Speech speech;
    Talker talker(bundle);
    Codes codes;
    for (const Sentence& sentence : sentences_of(text, speech.unspoken)) {
        const Codes more = talker.say(sentence);
        codes.insert(codes.end(), more.begin(), more.end());
    }
    if (codes.empty()) {
        throw Error("there is nothing to say", "give a text of letters from a to z; write numbers as words");
    }
    const Array mel = decode(bundle, std::move(codes), talker.codebooks());
    speech.samples = vocode(bundle, mel);
    speech.rate = bundle.manifest().at("parts").at("vocoder").at("mel").at("sample_rate");
    return speech;
}

}  // namespace muomni
