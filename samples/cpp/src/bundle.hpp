// A bundle, as docs/bundle.md specifies it: the manifest, and the graphs of its parts.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace muomni {

using Json = nlohmann::json;
using Shape = std::vector<std::int64_t>;

// What is wrong, and what to do about it. Exit codes: 1, something failed; 2, the request was wrong.
class Error : public std::runtime_error {
public:
    Error(const std::string& what, std::string to_do, int code = 2)
        : std::runtime_error(what), fix(std::move(to_do)), exit_code(code) {}

    std::string fix;
    int exit_code;
};

// Numbers of a tensor, row-major.
struct Array {
    Shape shape;
    std::vector<float> values;

    // The last row: of (1,T,V), the (V,) numbers at T - 1.
    std::span<const float> last_row() const;
};

// Copies values into a tensor of onnxruntime's own memory, so that nothing has to outlive it.
template <class T>
Ort::Value tensor(const Shape& shape, std::span<const T> values) {
    Ort::AllocatorWithDefaultOptions allocator;
    Ort::Value made = Ort::Value::CreateTensor<T>(allocator, shape.data(), shape.size());
    if (made.GetTensorTypeAndShapeInfo().GetElementCount() != values.size())
        throw std::logic_error("shape of a tensor");
    if (!values.empty()) std::copy(values.begin(), values.end(), made.template GetTensorMutableData<T>());
    return made;
}

template <class T>
Ort::Value tensor(const Shape& shape, const std::vector<T>& values) {
    return tensor(shape, std::span<const T>(values));
}

inline Ort::Value tensor(const Array& array) { return tensor(array.shape, array.values); }

Array floats(const Ort::Value& value);
std::int64_t argmax(std::span<const float> values);

struct Feed {
    const char* name;
    Ort::Value value;
};
using Outputs = std::map<std::string, Ort::Value>;

// A graph, and its states from one call to the next.
class Graph {
public:
    Graph(const std::filesystem::path& root, const Json& entry);

    // Zeros, as before the first call.
    void reset();

    // Outputs by name, without the states. After an exception, reset() before the next call.
    Outputs run(std::vector<Feed> feeds);

    template <class... Feeds>
    Outputs operator()(Feeds... feeds) {
        std::vector<Feed> listed;
        (listed.push_back(std::move(feeds)), ...);
        return run(std::move(listed));
    }

private:
    struct State {
        std::string input;
        ONNXTensorElementDataType type;
        Shape shape;
        Ort::Value value{nullptr};
    };

    Ort::Session session_{nullptr};
    std::vector<std::string> outputs_;
    std::vector<State> states_;
    std::map<std::string, std::size_t> state_of_;  // output -> place in states_
};

struct Part {
    const Json& entry;
    std::map<std::string, Graph> graphs;

    const Json& config() const { return entry.at("config"); }
    Graph& graph(const std::string& name);
    bool has(const std::string& name) const { return graphs.count(name) > 0; }
};

class Bundle {
public:
    explicit Bundle(std::filesystem::path root);

    const std::filesystem::path& root() const { return root_; }
    const Json& manifest() const { return manifest_; }
    bool has(const std::string& part) const { return manifest_.at("parts").contains(part); }

    // A part with its graphs opened: those of `graphs`, or all. The bundle has to outlive it.
    Part part(const std::string& name, const std::vector<std::string>& graphs = {}) const;

private:
    std::filesystem::path root_;
    Json manifest_;
};

}  // namespace muomni
