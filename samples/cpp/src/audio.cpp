#include <cmath>
#include <fstream>
#include <iterator>

#include "media.hpp"

namespace muomni {
namespace {

// As docs/bundle.md defines speech in a recording.
constexpr double STEP = 0.005,
                 AROUND = 0.01;  // seconds: between measurements of loudness, and half of what each covers
constexpr double BELOW = 30, ABOVE = 5, LEAST = 12, STEADY = 3, ALONE = 8, MOST_GAIN = 60;  // dB
constexpr double LOUDEST = 0.06, SHORTEST = 0.04;                                           // seconds

// Unsigned little-endian numbers, whatever the machine's order.
std::uint32_t read_number(const std::string& bytes, std::size_t at, int size) {
    std::uint32_t value = 0;
    for (int n = 0; n < size; n++) value |= std::uint32_t{static_cast<unsigned char>(bytes.at(at + n))} << (8 * n);
    return value;
}

void write_number(std::string& bytes, std::uint32_t value, int size) {
    for (int n = 0; n < size; n++) bytes += static_cast<char>((value >> (8 * n)) & 0xff);
}

// Power at every STEP, in dB of full scale.
std::vector<double> loudness(std::span<const float> samples, double rate) {
    const std::int64_t around = std::max(1L, std::lrint(AROUND * rate));
    std::vector<double> total(around + 1, 0.0);  // of the squares, with silence at both ends
    for (const float sample : samples) total.push_back(total.back() + double{sample} * sample);
    total.resize(total.size() + around, total.back());
    std::vector<double> levels;
    for (int step = 0; step <= int(samples.size() / (STEP * rate)); step++) {
        const auto begin = std::int64_t(step * STEP * rate);
        const double power = (total[begin + 2 * around] - total[begin]) / (2 * around);
        levels.push_back(10 * std::log10(power + 1e-10));
    }
    return levels;
}

double percentile(const std::vector<double>& sorted, double percent) {
    const double place = (sorted.size() - 1) * percent / 100;
    const auto low = std::size_t(place), high = std::min(low + 1, sorted.size() - 1);
    return sorted[low] + (sorted[high] - sorted[low]) * (place - low);
}

// Which steps hold speech or another sound.
std::vector<bool> active(const std::vector<double>& levels) {
    std::vector<bool> found(levels.size(), false);
    std::vector<double> sorted = levels;
    std::sort(sorted.begin(), sorted.end());
    const double top = sorted[sorted.size() - std::min<std::size_t>(std::lround(LOUDEST / STEP), sorted.size())];
    const double quietest = percentile(sorted, 5), background = percentile(sorted, 20);
    if (top - background < ALONE) return found;
    const double noisy = background + ABOVE;
    const double limit = std::max(top - BELOW, background - quietest < STEADY ? noisy : std::min(noisy, top - LEAST));
    for (std::size_t begin = 0; begin < levels.size();) {
        std::size_t end = begin;
        while (end < levels.size() && levels[end] >= limit) end++;
        for (std::size_t n = begin; n < end; n++) found[n] = end - begin >= SHORTEST / STEP;
        begin = std::max(end, begin + 1);
    }
    return found;
}

// Scales the samples so that the mean power of speech lies in `range`.
void bring_to_level(std::vector<float>& samples, double rate, const Json& range) {
    const std::vector<double> levels = loudness(samples, rate);
    const std::vector<bool> speech = active(levels);
    double power = 0;
    int count = 0;
    for (std::size_t step = 0; step < levels.size(); step++) {
        if (speech[step]) power += std::pow(10, levels[step] / 10), count++;
    }
    if (count == 0) return;
    const double level = 10 * std::log10(power / count);
    const double gain = std::clamp(level, range.at(0).get<double>(), range.at(1).get<double>()) - level;
    const float factor = std::pow(10, std::min(gain, MOST_GAIN) / 20);
    for (float& sample : samples) sample *= factor;
}

// Which tokens lie within `silence` seconds of speech; all if there is none.
std::vector<bool> tokens_near_speech(std::span<const float> samples, double rate, std::int64_t token, double silence) {
    const std::int64_t tokens = (std::ssize(samples) + token - 1) / token;
    std::vector<bool> kept(tokens, false);
    const std::vector<bool> speech = active(loudness(samples, rate));
    for (std::size_t step = 0; step < speech.size(); step++) {
        if (!speech[step]) continue;
        const double place = step * STEP * rate / token, around = silence * rate / token;
        const auto begin = std::int64_t(std::max(0.0, std::floor(place - around)));
        const auto end = std::min(tokens, std::int64_t(std::floor(place + around + 1)));
        for (std::int64_t n = begin; n < end; n++) kept[n] = true;
    }
    const auto whole = kept.begin() + std::ssize(samples) / token;
    if (std::find(kept.begin(), whole, true) == whole) kept.assign(tokens, true);
    return kept;
}

}  // namespace

std::int64_t samples_per_token(const Json& config) {
    return config.at("hop").get<std::int64_t>() * config.at("downsample").get<std::int64_t>();
}

Recording prepare_recording(std::span<const float> samples, const Json& config) {
    const double rate = config.at("sample_rate");
    const std::int64_t token = samples_per_token(config);
    Recording made{{samples.begin(), samples.end()}, std::vector<bool>((samples.size() + token - 1) / token, true)};
    if (const Json level = config.value("level", Json()); !level.is_null()) bring_to_level(made.samples, rate, level);
    const Json silence = config.value("silence", Json());
    if (silence.is_null() || silence == 0) return made;
    made.kept = tokens_near_speech(made.samples, rate, token, silence);
    std::size_t count = 0;
    for (std::size_t n = 0; n < made.samples.size(); n++) {
        if (made.kept[n / token]) made.samples[count++] = made.samples[n];
    }
    made.samples.resize(count);
    return made;
}

std::vector<float> read_wav(const std::filesystem::path& file, int rate) {
    std::ifstream stream(file, std::ios::binary);
    if (!stream) throw Error(file.string() + " cannot be read", "give a WAV file");
    const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
    const std::string fix = "convert it: ffmpeg -i IN -ac 1 -ar " + std::to_string(rate) + " -c:a pcm_s16le OUT.wav";
    if (!bytes.starts_with("RIFF") || bytes.find("WAVE") != 8) throw Error(file.string() + " is not a WAV file", fix);
    bool known = false;
    for (std::size_t at = 12; at + 8 <= bytes.size();) {
        const std::string tag = bytes.substr(at, 4);
        const std::size_t size = read_number(bytes, at + 4, 4), begin = at + 8;
        if (tag == "fmt " && size >= 16 && begin + 16 <= bytes.size()) {
            known = read_number(bytes, begin, 2) == 1 && read_number(bytes, begin + 2, 2) == 1 &&
                    read_number(bytes, begin + 4, 4) == std::uint32_t(rate) && read_number(bytes, begin + 14, 2) == 16;
        } else if (tag == "data" && known) {
            std::vector<float> samples;
            for (std::size_t n = begin; n + 2 <= std::min(bytes.size(), begin + size); n += 2) {
                samples.push_back(static_cast<std::int16_t>(read_number(bytes, n, 2)) / 32768.0f);
            }
            return samples;
        }
        at = begin + size + size % 2;
    }
    throw Error(file.string() + " is not of 16 bits, one channel and " + std::to_string(rate) + " samples a second",
                fix);
}

void write_wav(const std::filesystem::path& file, const std::vector<float>& samples, int rate) {
    std::string bytes = "RIFF";
    write_number(bytes, 36 + 2 * samples.size(), 4);
    bytes += "WAVEfmt ";
    write_number(bytes, 16, 4);
    for (const int value : {1, 1}) write_number(bytes, value, 2);  // integers, one channel
    for (const int value : {rate, 2 * rate}) write_number(bytes, value, 4);
    for (const int value : {2, 16}) write_number(bytes, value, 2);
    bytes += "data";
    write_number(bytes, 2 * samples.size(), 4);
    for (const float sample : samples) write_number(bytes, std::lrint(std::clamp(sample, -1.0f, 1.0f) * 32767), 2);
    std::ofstream stream(file, std::ios::binary);
    if (!stream.write(bytes.data(), bytes.size()).flush()) {
        throw Error(file.string() + " cannot be written", "give the path of a file in a folder that exists", 1);
    }
}

}  // namespace muomni
