#include "bundle.hpp"

#include <cstring>
#include <fstream>

namespace muomni {
namespace {

constexpr int OLDEST = 23;  // of onnxruntime 1.x: the first with operator set 23

struct Type {
    const char* name;
    ONNXTensorElementDataType type;
    std::size_t size;
};
constexpr Type TYPES[] = {
    {"float32", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, 4}, {"float16", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16, 2},
    {"int64", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, 8},   {"int32", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, 4},
    {"uint8", ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, 1},
};

const Type& type_named(const std::string& name) {
    for (const Type& one : TYPES) {
        if (name == one.name) return one;
    }
    throw Error("the manifest has a tensor of " + name + ", which is not read here", "add it to TYPES in bundle.cpp");
}

Ort::Value zeros(const Shape& shape, ONNXTensorElementDataType type) {
    if (std::find(shape.begin(), shape.end(), 0) !=
        shape.end()) {  // 1.23 takes an empty cache at a null pointer for none
        static double nowhere = 0;
        const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        return Ort::Value::CreateTensor(memory, &nowhere, 0, shape.data(), shape.size(), type);
    }
    Ort::AllocatorWithDefaultOptions allocator;
    Ort::Value made = Ort::Value::CreateTensor(allocator, shape.data(), shape.size(), type);
    const std::size_t count = made.GetTensorTypeAndShapeInfo().GetElementCount();
    const auto* found =
        std::find_if(std::begin(TYPES), std::end(TYPES), [&](const Type& one) { return one.type == type; });
    std::memset(made.GetTensorMutableRawData(), 0, count * found->size);
    return made;
}

// Called before anything else of onnxruntime: with a library older than its headers, the C++ API has no functions.
void require_runtime() {
    const std::string version = OrtGetApiBase()->GetVersionString();
    const std::size_t dot = version.find('.');
    if (version.substr(0, dot) == "1" && std::stoi(version.substr(dot + 1)) < OLDEST) {
        throw Error("onnxruntime " + version + " cannot open bundles", "use onnxruntime 1.23 or newer", 1);
    }
    if (OrtGetApiBase()->GetApi(ORT_API_VERSION) == nullptr) {
        throw Error("onnxruntime " + version + " is older than the headers of this build",
                    "build again with the headers of that version, or use a newer library", 1);
    }
}

Ort::Env& environment() {
    static Ort::Env made(ORT_LOGGING_LEVEL_ERROR, "muomni_min");
    return made;
}

// A path from the manifest, which must not lead out of the bundle.
std::filesystem::path inside(const std::filesystem::path& root, const std::string& given) {
    const std::filesystem::path path(given);
    if (path.is_absolute() || std::find(path.begin(), path.end(), "..") != path.end()) {
        throw Error("the manifest names a file outside of the bundle: " + given,
                    "get the bundle from a trusted source");
    }
    return root / path;
}

}  // namespace

std::span<const float> Array::last_row() const { return std::span(values).last(shape.back()); }

Array floats(const Ort::Value& value) {
    const auto info = value.GetTensorTypeAndShapeInfo();
    if (info.GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {
        throw std::runtime_error("an output is not float32");
    }
    Array made{info.GetShape(), {}};
    const float* begin = value.GetTensorData<float>();
    if (const std::size_t count = info.GetElementCount()) made.values.assign(begin, begin + count);
    return made;
}

std::int64_t argmax(std::span<const float> values) {
    return std::max_element(values.begin(), values.end()) - values.begin();
}

Graph::Graph(const std::filesystem::path& root, const Json& entry) {
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(1);  // graphs as small as nano's are not faster with more
    // Both for int8, see docs/bundle.md.
    options.AddConfigEntry("session.x64quantprecision", "1");
    options.AddConfigEntry("optimization.disable_specified_optimizers", "QDQS8ToU8Transformer");
    session_ = Ort::Session(environment(), inside(root, entry.at("file")).c_str(), options);
    outputs_ = entry.at("outputs").get<std::vector<std::string>>();
    for (const auto& [input, output] : entry.at("states").items()) {
        Shape shape;
        for (const Json& axis : entry.at("inputs").at(input)) {
            const bool empty = axis == "past" || axis == "known";
            shape.push_back(axis.is_number() ? axis.get<std::int64_t>() : empty ? 0 : 1);
        }
        state_of_[output.get<std::string>()] = states_.size();
        states_.push_back({input, type_named(entry.at("types").at(input)).type, shape});
    }
    reset();
}

void Graph::reset() {
    for (State& state : states_) state.value = zeros(state.shape, state.type);
}

Outputs Graph::run(std::vector<Feed> feeds) {
    std::vector<const char*> inputs, outputs;
    std::vector<Ort::Value> values;
    for (Feed& feed : feeds) {
        inputs.push_back(feed.name);
        values.push_back(std::move(feed.value));
    }
    for (State& state : states_) {
        inputs.push_back(state.input.c_str());
        values.push_back(std::move(state.value));
    }
    for (const std::string& name : outputs_) outputs.push_back(name.c_str());
    auto made =
        session_.Run(Ort::RunOptions{}, inputs.data(), values.data(), values.size(), outputs.data(), outputs.size());
    Outputs named;
    for (std::size_t n = 0; n < made.size(); n++) {
        const auto state = state_of_.find(outputs_[n]);
        if (state == state_of_.end()) {
            named.emplace(outputs_[n], std::move(made[n]));
        } else {
            states_[state->second].value = std::move(made[n]);
        }
    }
    return named;
}

Graph& Part::graph(const std::string& name) {
    const auto found = graphs.find(name);
    if (found == graphs.end()) throw Error("the part has no graph " + name, "use a bundle that has it");
    return found->second;
}

Bundle::Bundle(std::filesystem::path root) : root_(std::move(root)) {
    require_runtime();
    std::ifstream file(root_ / "muomni.json", std::ios::binary);
    if (!file) {
        throw Error("there is no bundle in " + root_.string(), "give the folder that `muomni export --onnx` wrote");
    }
    manifest_ = Json::parse(file);
    if (const int format = manifest_.at("format"); format != 1) {
        throw Error("the bundle has format " + std::to_string(format) + ", and 1 is read here",
                    "use a newer muomni_min");
    }
}

Part Bundle::part(const std::string& name, const std::vector<std::string>& graphs) const {
    if (!has(name)) throw Error("this model has no " + name, "use a bundle that has one");
    const Json& entry = manifest_.at("parts").at(name);
    Part made{entry, {}};
    for (const auto& [key, graph] : entry.at("graphs").items()) {
        const bool wanted = graphs.empty() || std::find(graphs.begin(), graphs.end(), key) != graphs.end();
        if (wanted) made.graphs.emplace(key, Graph(root_, graph));
    }
    return made;
}

}  // namespace muomni
