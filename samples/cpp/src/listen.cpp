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
    const Shape shape{1, static_cast<std::int64_t>(ready.samples.size())};
    Outputs encoded = part.graph("encoder")(Feed{"inputs", tensor(shape, ready.samples)});
    const Array scores = floats(part.graph("head")(Feed{"tokens", std::move(encoded.at("tokens"))}).at("scores"));
    const auto count = static_cast<std::size_t>(scores.shape.at(1)),
               width = static_cast<std::size_t>(scores.shape.at(2));
    std::vector<std::int64_t> classes;
    std::size_t next = 0;
    for (const bool kept : ready.kept) {
        if (!kept) {
            classes.push_back(0);
        } else if (next < count) {  // the last token may be incomplete, and then has no scores
            classes.push_back(argmax(std::span(scores.values).subspan(next++ * width, width)));
        }
    }
    return classes;
}

}  // namespace

std::string listen(const Bundle& bundle, const std::filesystem::path& file) {
    Part part = bundle.part(bundle.has("audio-alone") ? "audio-alone" : "audio", {"encoder", "head"});
    const int rate = part.config().at("sample_rate");
    const std::size_t token = samples_per_token(part.config());
    const auto tokens = [&](double seconds) {
        return static_cast<std::size_t>(std::nearbyint(seconds * rate / static_cast<double>(token)));
    };
    const std::vector<float> wave = read_wav(file, rate);
    if (wave.size() < token) return "";
    std::vector<float> padded(tokens(ROOM) * token, 0.0f);
    padded.insert(padded.end(), wave.begin(), wave.end());
    padded.resize(padded.size() + tokens(ROOM) * token, 0.0f);

    const std::size_t window = tokens(WINDOW), side = tokens(SIDE);
    std::vector<std::int64_t> classes;
    std::size_t first = 0;  // tokens of the window that the one before it has decided
    std::span<const float> rest(padded);
    const auto add = [&](const std::vector<std::int64_t>& found, std::size_t end) {
        for (std::size_t n = first; n < std::min(end, found.size()); n++) classes.push_back(found[n]);
    };
    while (rest.size() > window * token) {
        add(classes_of(part, rest.first(window * token)), window - side);
        rest = rest.subspan((window - 2 * side) * token);
        first = side;
    }
    if (rest.size() >= token) add(classes_of(part, rest), rest.size());

    const std::string characters = part.config().at("characters");
    std::string text;
    std::int64_t before = 0;
    for (const std::int64_t one : classes) {
        if (one != before && one != 0) {
            const char character = characters.at(static_cast<std::size_t>(one) - 1);
            if (character != ' ' || (!text.empty() && text.back() != ' ')) text += character;
        }
        before = one;
    }
    if (!text.empty() && text.back() == ' ') text.pop_back();
    return text;
}

}  // namespace muomni
