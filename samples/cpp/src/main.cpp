// Runs a bundle of muomni with onnxruntime alone: a start for a runtime of your own. It follows docs/bundle.md.
#include <iostream>

#include "media.hpp"
#include "models.hpp"

namespace {

constexpr const char* USAGE =
    "usage: muomni_min BUNDLE chat TEXT [--image FILE] [--audio FILE]\n"
    "       muomni_min BUNDLE tts TEXT OUT.wav\n"
    "       muomni_min BUNDLE listen FILE.wav\n";

// Exit code 2: the words are none of the usage.
int run(const std::vector<std::string>& words) {
    const std::string command = words.size() > 1 ? words[1] : "";
    if (command == "chat" && words.size() >= 3 && words.size() % 2 == 1) {
        muomni::Question question{words[2], {}, {}};
        for (std::size_t n = 3; n < words.size(); n += 2) {
            if (words[n] != "--image" && words[n] != "--audio") return std::cerr << USAGE, 2;
            (words[n] == "--image" ? question.image : question.audio) = words[n + 1];
        }
        std::cout << muomni::chat(muomni::Bundle(words[0]), question) << "\n";
    } else if (command == "tts" && words.size() == 4) {
        const muomni::Speech speech = muomni::speak(muomni::Bundle(words[0]), words[2]);
        muomni::write_wav(words[3], speech.samples, speech.rate);
        if (!speech.unspoken.empty()) std::cerr << "not spoken: " << speech.unspoken << "\n";
    } else if (command == "listen" && words.size() == 3) {
        std::cout << muomni::listen(muomni::Bundle(words[0]), words[2]) << "\n";
    } else {
        std::cerr << USAGE;
        return 2;
    }
    return 0;
}

int failed(const std::string& what, const std::string& fix, int code) {
    std::cerr << "error: " << what.substr(0, what.find('\n')) << "\n  fix: " << fix << "\n";
    return code;
}

}  // namespace

int main(int count, char** words) {
    try {
        return run({words + 1, words + count});
    } catch (const muomni::Error& error) {
        return failed(error.what(), error.fix, error.exit_code);
    } catch (const std::exception& error) {  // of onnxruntime, the JSON parser, or a manifest that lacks something
        return failed(error.what(), "check the bundle: muomni export check FOLDER", 1);
    }
}
