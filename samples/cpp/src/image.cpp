#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#include <stb_image.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include <array>
#include <cmath>
#include <memory>

#include "media.hpp"

namespace muomni {
namespace {

using Color = std::array<int, 3>;

constexpr int BITS = 22;     // of fixed-point weights
constexpr int SEARCHED = 8;  // longest side, in sides of the square, of the picture in which plain ends are looked for
constexpr int ALIKE = 20;    // largest difference, in each channel, of pixels of one color

int round_half_even(double value) { return int(std::nearbyint(value)); }

// Keys' cubic convolution with a = -0.5.
double bicubic(double x) {
    x = std::abs(x);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

// The pixels that a new pixel is a weighted sum of.
struct Window {
    int first;
    std::vector<int> weights;
};

std::vector<Window> windows(int from, int to) {
    const double scale = 1.0 * from / to, wide = std::max(scale, 1.0);
    std::vector<Window> made;
    for (int place = 0; place < to; place++) {
        const double center = (place + 0.5) * scale;
        const int first = std::max(0, int(center - 2 * wide + 0.5));
        const int end = std::min(from, int(center + 2 * wide + 0.5));
        std::vector<double> weights;
        double sum = 0;
        for (int at = first; at < end; at++) sum += weights.emplace_back(bicubic((at - center + 0.5) * (1 / wide)));
        Window window{first, {}};
        for (const double weight : weights) window.weights.push_back(std::lround(weight * (1 / sum) * (1 << BITS)));
        made.push_back(std::move(window));
    }
    return made;
}

// One side of a picture to `size`: the width, or else the height.
Picture resize_side(const Picture& picture, bool width, int size) {
    if (size == (width ? picture.width : picture.height)) return picture;
    Picture made(width ? size : picture.width, width ? picture.height : size);
    const std::vector<Window> found = windows(width ? picture.width : picture.height, size);
    for (int y = 0; y < made.height; y++) {
        for (int x = 0; x < made.width; x++) {
            const Window& window = found[width ? x : y];
            std::array<std::int64_t, 3> sums;
            sums.fill(1 << (BITS - 1));
            for (int n = 0; n < std::ssize(window.weights); n++) {
                const int at = window.first + n;
                const std::uint8_t* pixel = width ? picture.pixel(at, y) : picture.pixel(x, at);
                for (int c = 0; c < 3; c++) sums[c] += std::int64_t{pixel[c]} * window.weights[n];
            }
            for (int c = 0; c < 3; c++) made.pixel(x, y)[c] = std::clamp<std::int64_t>(sums[c] >> BITS, 0, 255);
        }
    }
    return made;
}

// As Pillow 13 does it: rounded between the two sides, of which the one comes first that leaves less to do.
Picture resize(const Picture& picture, int width, int height) {
    const int shorter = picture.height - height;
    const bool height_first = shorter > 0 && shorter > 2 * (picture.width - width);
    return resize_side(resize_side(picture, !height_first, height_first ? height : width), height_first,
                       height_first ? width : height);
}

// In proportion, with a longer side of `side`.
Picture resize_longer(const Picture& picture, double side) {
    const int longer = std::max(picture.width, picture.height);
    return resize(picture, std::max(1, round_half_even(picture.width * side / longer)),
                  std::max(1, round_half_even(picture.height * side / longer)));
}

// Copies `from` onto `to`, whose pixel (0, 0) is the pixel (left, top) of `from`; what lies beyond is left as it is.
void paste(const Picture& from, int left, int top, Picture& to) {
    for (int y = std::max(0, -top); y < std::min(to.height, from.height - top); y++) {
        const int x = std::max(0, -left), end = std::min(to.width, from.width - left);
        std::copy(from.pixel(x + left, y + top), from.pixel(x + left, y + top) + 3 * (end - x), to.pixel(x, y));
    }
}

Picture crop(const Picture& picture, int left, int top, int width, int height) {
    Picture made(width, height);
    paste(picture, left, top, made);
    return made;
}

// The median of the outermost pixels, corners twice, in each channel.
Color edge_color(const Picture& picture) {
    Color median{};
    for (int c = 0; c < 3; c++) {
        std::vector<int> values;
        for (int x = 0; x < picture.width; x++) {
            for (const int y : {0, picture.height - 1}) values.push_back(picture.pixel(x, y)[c]);
        }
        for (int y = 0; y < picture.height; y++) {
            for (const int x : {0, picture.width - 1}) values.push_back(picture.pixel(x, y)[c]);
        }
        std::sort(values.begin(), values.end());
        const auto half = values.size() / 2;  // of an even number
        median[c] = (values[half - 1] + values[half]) / 2;
    }
    return median;
}

// Without lines of one color at the ends of the longer side, of which as many stay as make the picture square or keep a
// little of the color. `small` is the picture in proportion.
Picture without_plain_ends(const Picture& picture, const Picture& small, const Color& color) {
    const bool upright = picture.height > picture.width;
    const int lines = upright ? small.height : small.width, across = upright ? small.width : small.height;
    const auto plain = [&](int line) {
        for (int at = 0; at < across; at++) {
            const std::uint8_t* pixel = upright ? small.pixel(at, line) : small.pixel(line, at);
            for (int c = 0; c < 3; c++) {
                if (std::abs(pixel[c] - color[c]) > ALIKE) return false;
            }
        }
        return true;
    };
    int before = 0, after = 0;
    while (before < lines && plain(before)) before++;
    while (after < lines && plain(lines - 1 - after)) after++;
    if (before == lines) before = after = 0;
    const int cut = std::min(lines - across, before + after), left = before + after - cut;
    const int some = std::min(across / 16, left / 2);
    const int share = round_half_even(1.0 * left * before / std::max(before + after, 1));
    const int first = before - std::clamp(share, std::min(before, some), left - std::min(after, some));
    const double longer = std::max(picture.width, picture.height);
    const int begin = round_half_even(first * longer / lines),
              end = round_half_even((lines - cut + first) * longer / lines);
    return upright ? crop(picture, 0, begin, picture.width, end - begin)
                   : crop(picture, begin, 0, end - begin, picture.height);
}

Picture fit_square(const Picture& picture, const Json& config) {
    const int side = config.at("size");
    const std::string fit = config.at("fit");
    if (fit == "stretch" || picture.width == picture.height) return resize(picture, side, side);
    if (fit == "crop") {
        const int shorter = std::min(picture.width, picture.height);
        const int left = (picture.width - shorter) / 2, top = (picture.height - shorter) / 2;
        return resize(crop(picture, left, top, shorter, shorter), side, side);
    }
    Color color{};
    Picture whole = picture;
    if (fit == "extend") {
        const Picture small =
            resize_longer(picture, std::min(std::max(picture.width, picture.height), SEARCHED * side));
        color = edge_color(small);
        whole = without_plain_ends(picture, small, color);
    } else if (fit == "pad") {
        for (int c = 0; c < 3; c++) {
            color[c] = round_half_even(255 * config.at("mean").at(c).get<double>());
        }
    } else {
        throw Error("the image encoder fits pictures by " + fit + ", which is not known here",
                    "use a newer muomni_min");
    }
    const Picture inner = resize_longer(whole, side);
    Picture page(side, side);
    for (int n = 0; n < side * side; n++) std::copy(color.begin(), color.end(), page.rgb.begin() + 3 * n);
    paste(inner, -((side - inner.width) / 2), -((side - inner.height) / 2), page);
    return page;
}

}  // namespace

Picture read_picture(const std::filesystem::path& file, std::int64_t max_pixels) {
    int width = 0, height = 0, channels = 0;
    if (!stbi_info(file.string().c_str(), &width, &height, &channels)) {
        throw Error(file.string() + " is not a picture that can be read: " + stbi_failure_reason(),
                    "give a PNG or JPEG file");
    }
    if (std::int64_t{width} * height > max_pixels) {
        throw Error(file.string() + " has too many pixels", "make it smaller");
    }
    const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
        stbi_load(file.string().c_str(), &width, &height, &channels, 4), stbi_image_free);
    if (!pixels) {
        throw Error(file.string() + " is damaged: " + stbi_failure_reason(), "save it again as PNG or JPEG");
    }
    Picture picture(width, height);
    bool seen = false;
    for (std::size_t n = 0; n < picture.rgb.size(); n++) {
        const stbi_uc* pixel = pixels.get() + n / 3 * 4;
        const int sum = pixel[n % 3] * pixel[3] + 255 * (255 - pixel[3]) + 128;
        picture.rgb[n] = ((sum >> 8) + sum) >> 8;  // sum / 255
        seen = seen || pixel[3] > 0;
    }
    if (!seen) throw Error(file.string() + " is fully transparent", "give another picture");
    return picture;
}

std::vector<std::uint8_t> fit_picture(const Picture& picture, const Json& config) {
    const Picture square = fit_square(picture, config);
    std::vector<std::uint8_t> planes;
    for (int c = 0; c < 3; c++) {
        for (std::size_t at = c; at < square.rgb.size(); at += 3) planes.push_back(square.rgb[at]);
    }
    return planes;
}

}  // namespace muomni
