// Pictures and recordings as the encoders take them.
#pragma once

#include "bundle.hpp"

namespace muomni {

// Red, green and blue of each pixel, row by row.
struct Picture {
    Picture(int w, int h) : width(w), height(h), rgb(std::size_t{3} * w * h) {}
    std::uint8_t* pixel(int x, int y) { return rgb.data() + 3 * (std::ptrdiff_t{y} * width + x); }
    const std::uint8_t* pixel(int x, int y) const { return rgb.data() + 3 * (std::ptrdiff_t{y} * width + x); }

    int width, height;
    std::vector<std::uint8_t> rgb;
};

// A PNG or JPEG file, over white. EXIF orientation is ignored. Error: it cannot be read, or has over `max_pixels`.
Picture read_picture(const std::filesystem::path& file, std::int64_t max_pixels);

// (3,S,S) pixels for the encoder `vit` with this config.
std::vector<std::uint8_t> fit_picture(const Picture& picture, const Json& config);

// A WAV file of 16 bits, one channel and this sample rate. Error: it is another one.
std::vector<float> read_wav(const std::filesystem::path& file, int rate);

// Error: the file cannot be written.
void write_wav(const std::filesystem::path& file, const std::vector<float>& samples, int rate);

// Samples for the encoder `listener`, and which tokens of the recording they hold; the others are silence.
struct Recording {
    std::vector<float> samples;
    std::vector<bool> kept;
};
Recording prepare_recording(std::span<const float> samples, const Json& config);

// Samples per token of the encoder `listener`.
std::int64_t samples_per_token(const Json& config);

}  // namespace muomni
