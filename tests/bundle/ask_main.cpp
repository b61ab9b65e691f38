// Asks about pictures in one process and writes down what came of each, for test_cpp.py.
//
//     ask TEXT VISION TILES EXACT BATCH SEQUENCES UNIFIED SIDE MAX_NEW_TOKENS FOLDER...
//
// Each folder holds `prompt` and `rgb`; `ids` (int32), `logits` (float32), `answer` and `counts` (of
// the process so far: runs of the vision tower, tokens of prompts) are written there, or `error`.
// With `answers` (a line each): `likelihoods` (float64) as well.
//
//     ask choose TEMPERATURE UNSURE_BELOW LIKELIHOOD...
//
// prints label, confidence and whether that is unsure.

#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

#include "ask.hpp"

namespace {

std::string file(const std::string &path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

template <typename Values>
void write(const std::string &path, const Values &values) {
    std::ofstream stream(path, std::ios::binary);
    const auto size = values.size() * sizeof(typename Values::value_type);
    stream.write(reinterpret_cast<const char *>(values.data()), static_cast<long>(size));
}

std::vector<std::string> lines(const std::string &text) {
    std::istringstream stream(text);
    std::vector<std::string> found;
    for (std::string line; std::getline(stream, line);) found.push_back(line);
    return found;
}

uint32_t number(const std::string &text) { return static_cast<uint32_t>(std::stoi(text)); }

// As loading.py opens the two files.
llama_context *open_text(const std::string &path, bool exact, uint32_t batch, uint32_t sequences,
                         bool unified) {
    llama_model_params model_settings = llama_model_default_params();
    model_settings.n_gpu_layers = 0;
    llama_context_params settings = llama_context_default_params();
    settings.n_ctx = 2048;
    settings.n_batch = batch;
    settings.n_ubatch = std::min<uint32_t>(batch, 512);
    settings.n_seq_max = sequences;
    settings.kv_unified = unified;
    settings.n_threads = settings.n_threads_batch = 1;
    if (exact) {
        settings.type_k = settings.type_v = GGML_TYPE_F32;
        settings.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    }
    llama_model *model = llama_model_load_from_file(path.c_str(), model_settings);
    return model ? llama_init_from_model(model, settings) : nullptr;
}

mtmd_context *open_vision(const std::string &path, const llama_context *text, bool exact) {
    if (!text) return nullptr;
    mtmd_context_params settings = mtmd_context_params_default();
    settings.use_gpu = settings.print_timings = settings.warmup = false;
    settings.n_threads = 1;
    if (exact) settings.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    return mtmd_init_from_file(path.c_str(), llama_get_model(text), settings);
}

void ask(pocketvlm::Asker &asker, llama_context *text, const std::string &folder, int side,
         int max_new_tokens) {
    const std::string prompt = file(folder + "/prompt"), rgb = file(folder + "/rgb");
    const auto *pixels = reinterpret_cast<const unsigned char *>(rgb.data());
    try {
        write(folder + "/ids", asker.ids(prompt, pixels, side));
        write(folder + "/logits", asker.first_logits(prompt, pixels, side));
        write(folder + "/answer", asker.answer(prompt, pixels, side, max_new_tokens));
        const auto answers = lines(file(folder + "/answers"));
        if (!answers.empty()) {
            write(folder + "/likelihoods", asker.likelihoods(prompt, pixels, side, answers));
        }
        const std::string evaluated = std::to_string(llama_perf_context(text).n_p_eval);
        write(folder + "/counts", std::to_string(asker.encodings()) + " " + evaluated);
    } catch (const std::runtime_error &error) {
        write(folder + "/error", std::string(error.what()));
    }
}

int choose(const std::vector<std::string> &given) {
    std::vector<double> likelihoods;
    for (std::size_t at = 3; at < given.size(); at++) likelihoods.push_back(std::stod(given[at]));
    try {
        const auto made =
            pocketvlm::choose(likelihoods, std::stod(given.at(1)), std::stod(given.at(2)));
        std::cout.precision(17);
        std::cout << made.label << " " << made.confidence << " " << made.unsure << "\n";
    } catch (const std::runtime_error &error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
    return 0;
}

}  // namespace

int main(int count, char **arguments) {
    const std::vector<std::string> given(arguments + 1, arguments + count);
    if (given.at(0) == "choose") return choose(given);
    const bool exact = given.at(3) == "exact";
    llama_backend_init();
    llama_context *text = open_text(given.at(0), exact, number(given.at(4)), number(given.at(5)),
                                    given.at(6) == "unified");
    mtmd_context *vision = open_vision(given.at(1), text, exact);
    try {
        pocketvlm::Asker asker(text, vision, given.at(2));
        for (std::size_t at = 9; at < given.size(); at++) {
            ask(asker, text, given[at], std::stoi(given.at(7)), std::stoi(given.at(8)));
        }
    } catch (const std::runtime_error &error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
}
