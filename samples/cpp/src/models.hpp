// What a bundle is for: answers, speech and transcripts.
#pragma once

#include <optional>

#include "bundle.hpp"

namespace muomni {

struct Question {
    std::string text;
    std::optional<std::filesystem::path> image, audio;
};

// The most likely answer.
std::string chat(const Bundle& bundle, const Question& question);

struct Speech {
    std::vector<float> samples;
    int rate;
    std::string unspoken;  // characters of the text that have no sound here
};

// A text in letters and marks, with the first voice.
Speech speak(const Bundle& bundle, const std::string& text);

// What is said in a WAV file of any length.
std::string listen(const Bundle& bundle, const std::filesystem::path& file);

}  // namespace muomni
