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

using Color = std::array<std::uint8_t, 3>;

constexpr int BITS = 22;     // of fixed-point weights
constexpr int SEARCHED = 8;  // longest side, in sides of the square, of the picture in which plain ends are looked for
constexpr int ALIKE = 20;    // largest difference, in each channel, of pixels of one color

int round_half_even(double value) { return static_cast<int>(std::nearbyint(value)); }

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
    const double scale = static_cast<double>(from) / to, wide = std::max(scale, 1.0);
    std::vector<Window> made;
    for (int place = 0; place < to; place++) {
        const double center = (place + 0.5) * scale;
        const int first = std::max(0, static_cast<int>(center - 2 * wide + 0.5));
        const int end = std::min(from, static_cast<int>(center + 2 * wide + 0.5));
        std::vector<double> weights;
        double sum = 0;
        for (int at = first; at < end; at++) sum += weights.emplace_back(bicubic((at - center + 0.5) * (1 / wide)));
        Window window{first, {}};
        for (const double weight : weights)
            window.weights.push_back(static_cast<int>(std::lround(weight * (1 / sum) * (1 << BITS))));
        made.push_back(std::move(window));
    }
    return made;
}

// One side of a picture to `size`: the width, or else the height.
Picture resize_side(const Picture& picture, bool width, int size) {
    const int from = width ? picture.width : picture.height;
    if (from == size) return picture;
    Picture made{width ? size : picture.width, width ? picture.height : size, {}};
    made.rgb.resize(std::size_t{3} * static_cast<std::size_t>(made.width) * static_cast<std::size_t>(made.height));
    const std::vector<Window> found = windows(from, size);
    const auto index = [](const Picture& of, int x, int y) {
        return 3 * (static_cast<std::size_t>(y) * static_cast<std::size_t>(of.width) + static_cast<std::size_t>(x));
    };
    for (int y = 0; y < made.height; y++) {
        for (int x = 0; x < made.width; x++) {
            const Window& window = found[static_cast<std::size_t>(width ? x : y)];
            std::array<std::int64_t, 3> sums;
            sums.fill(1 << (BITS - 1));
            int at = window.first;
            for (const int weight : window.weights) {
                const std::uint8_t* pixel = &picture.rgb[width ? index(picture, at, y) : index(picture, x, at)];
                for (std::size_t c = 0; c < 3; c++) sums[c] += std::int64_t{pixel[c]} * weight;
                at++;
            }
            std::uint8_t* pixel = &made.rgb[index(made, x, y)];
            for (std::size_t c = 0; c < 3; c++) {
                pixel[c] = static_cast<std::uint8_t>(std::clamp<std::int64_t>(sums[c] >> BITS, 0, 255));
            }
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
Picture resize_longer(const Picture& picture, int side) {
    const double scale = static_cast<double>(std::max(picture.width, picture.height));
    return resize(picture, std::max(1, round_half_even(picture.width * static_cast<double>(side) / scale)),
                  std::max(1, round_half_even(picture.height * static_cast<double>(side) / scale)));
}

Picture crop(const Picture& picture, int left, int top, int width, int height) {
    Picture made{width, height, {}};
    for (int y = top; y < top + height; y++) {
        const auto begin = picture.rgb.begin() + std::ptrdiff_t{3} * (std::ptrdiff_t{y} * picture.width + left);
        made.rgb.insert(made.rgb.end(), begin, begin + std::ptrdiff_t{3} * width);
    }
    return made;
}

Color pixel_at(const Picture& picture, int x, int y) {
    const std::size_t at =
        3 * (static_cast<std::size_t>(y) * static_cast<std::size_t>(picture.width) + static_cast<std::size_t>(x));
    return {picture.rgb[at], picture.rgb[at + 1], picture.rgb[at + 2]};
}

// The median of the outermost pixels, corners twice, in each channel.
Color edge_color(const Picture& picture) {
    std::array<std::vector<std::uint8_t>, 3> values;
    const auto add = [&](int x, int y) {
        const Color color = pixel_at(picture, x, y);
        for (std::size_t c = 0; c < 3; c++) values[c].push_back(color[c]);
    };
    for (int x = 0; x < picture.width; x++) add(x, 0), add(x, picture.height - 1);
    for (int y = 0; y < picture.height; y++) add(0, y), add(picture.width - 1, y);
    Color median{};
    for (std::size_t c = 0; c < 3; c++) {
        std::sort(values[c].begin(), values[c].end());
        const std::size_t half = values[c].size() / 2;  // of an even number
        median[c] = static_cast<std::uint8_t>((values[c][half - 1] + values[c][half]) / 2);
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
            const Color found = upright ? pixel_at(small, at, line) : pixel_at(small, line, at);
            for (std::size_t c = 0; c < 3; c++) {
                if (std::abs(found[c] - color[c]) > ALIKE) return false;
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
    const int share = round_half_even(static_cast<double>(left) * before / std::max(before + after, 1));
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
        for (std::size_t c = 0; c < 3; c++) {
            color[c] = static_cast<std::uint8_t>(round_half_even(255 * config.at("mean").at(c).get<double>()));
        }
    } else {
        throw Error("the image encoder fits pictures by " + fit + ", which is not known here",
                    "use a newer muomni_min");
    }
    const Picture inner = resize_longer(whole, side);
    const int left = (side - inner.width) / 2, top = (side - inner.height) / 2;
    Picture page{side, side, {}};
    for (int n = 0; n < side * side; n++) page.rgb.insert(page.rgb.end(), color.begin(), color.end());
    for (int y = 0; y < inner.height; y++) {
        const auto line = inner.rgb.begin() + std::ptrdiff_t{3} * y * inner.width;
        std::copy(line, line + std::ptrdiff_t{3} * inner.width,
                  page.rgb.begin() + std::ptrdiff_t{3} * (std::ptrdiff_t{top + y} * side + left));
    }
    return page;
}

}  // namespace

Picture read_picture(const std::filesystem::path& file, std::int64_t max_pixels) {
    int width = 0, height = 0, channels = 0;
    if (!stbi_info(file.string().c_str(), &width, &height, &channels)) {
        throw Error(file.string() + " is not a picture that can be read: " + stbi_failure_reason(),
                    "give a PNG or JPEG file");
    }
    if (std::int64_t{width} * height > max_pixels)
        throw Error(file.string() + " has too many pixels", "make it smaller");
    const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
        stbi_load(file.string().c_str(), &width, &height, &channels, 4), stbi_image_free);
    if (!pixels) {
        throw Error(file.string() + " is damaged: " + stbi_failure_reason(), "save it again as PNG or JPEG");
    }
    Picture picture{width, height, {}};
    const std::size_t count = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
    bool seen = false;
    for (std::size_t n = 0; n < count; n++) {
        const stbi_uc* pixel = pixels.get() + 4 * n;
        seen = seen || pixel[3] > 0;
        for (int c = 0; c < 3; c++) {
            const int sum = pixel[c] * pixel[3] + 255 * (255 - pixel[3]) + 128;
            picture.rgb.push_back(static_cast<std::uint8_t>(((sum >> 8) + sum) >> 8));  // sum / 255
        }
    }
    if (!seen) throw Error(file.string() + " is fully transparent", "give another picture");
    return picture;
}

std::vector<std::uint8_t> fit_picture(const Picture& picture, const Json& config) {
    const Picture square = fit_square(picture, config);
    std::vector<std::uint8_t> planes;
    for (std::size_t c = 0; c < 3; c++) {
        for (std::size_t at = c; at < square.rgb.size(); at += 3) planes.push_back(square.rgb[at]);
    }
    return planes;
}

}  // namespace muomni
