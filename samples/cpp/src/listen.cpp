#include <cmath>

#include "media.hpp"
#include "models.hpp"

namespace muomni {
namespace {

constexpr double WINDOW = 20, SIDE = 2;  // seconds of a window, and of its ends that serve only as context
constexpr double ROOM = 0.16;            // seconds of silence around the recording

// The most likely class of each token of one window; the silence that was cut is blank.
std::vector<std::int64_t> classes_of(Part& part, std::span<const float> samples) {
    const Recording ready = prepare_recording(samples, part.config());
    const Shape shape{1, std::ssize(ready.samples)};
    Outputs encoded = part.graph("encoder")(Feed{"inputs", tensor(shape, ready.samples)});
    const Array scores = floats(part.graph("head")(Feed{"tokens", std::move(encoded.at("tokens"))}).at("scores"));
    const std::int64_t count = scores.shape.at(1), width = scores.shape.at(2);
    std::vector<std::int64_t> classes;
    std::int64_t next = 0;
    for (const bool kept : ready.kept) {
        if (!kept) {
            classes.push_back(0);
        } else if (next < count) {  // the last token may be incomplete, and then has no scores
            classes.push_back(argmax(std::span(scores.values).subspan(next++ * width, width)));
        }
    }
    return classes;
}

// The characters of UTF-8.
std::vector<std::string> characters_of(const std::string& text) {
    std::vector<std::string> made;
    for (const char byte : text) {
        if ((byte & 0xc0) != 0x80) made.emplace_back();
        made.back() += byte;
    }
    return made;
}

}  // namespace

std::string listen(const Bundle& bundle, const std::filesystem::path& file) {
    Part part = bundle.part(bundle.has("audio-alone") ? "audio-alone" : "audio", {"encoder", "head"});
    const int rate = part.config().at("sample_rate");
    const std::int64_t token = samples_per_token(part.config());
    const auto tokens = [&](double seconds) { return std::lrint(seconds * rate / token); };
    const std::vector<float> wave = read_wav(file, rate);
    if (std::ssize(wave) < token) return "";
    std::vector<float> padded(tokens(ROOM) * token, 0.0f);
    padded.insert(padded.end(), wave.begin(), wave.end());
    padded.resize(padded.size() + tokens(ROOM) * token, 0.0f);

    const std::int64_t window = tokens(WINDOW), side = tokens(SIDE);
    std::vector<std::int64_t> classes;
    std::int64_t first = 0;  // tokens of the window that the one before it has decided
    std::span<const float> rest(padded);
    const auto add = [&](const std::vector<std::int64_t>& found, std::int64_t end) {
        for (std::int64_t n = first; n < std::min(end, std::ssize(found)); n++) classes.push_back(found[n]);
    };
    while (std::ssize(rest) > window * token) {
        add(classes_of(part, rest.first(window * token)), window - side);
        rest = rest.subspan((window - 2 * side) * token);
        first = side;
    }
    if (std::ssize(rest) >= token) add(classes_of(part, rest), std::ssize(rest));

    const std::vector<std::string> characters = characters_of(part.config().at("characters"));
    std::string text;
    std::int64_t before = 0;
    for (const std::int64_t one : classes) {
        if (one != before && one != 0) {
            const std::string& character = characters.at(one - 1);
            if (character != " " || (!text.empty() && text.back() != ' ')) text += character;
        }
        before = one;
    }
    if (!text.empty() && text.back() == ' ') text.pop_back();
    return text;
}

}  // namespace muomni
