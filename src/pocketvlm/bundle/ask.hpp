// Asks the student about a picture through the C API of llama.cpp and its mtmd, token for token as
// contract.json says. Copy it into the app's native code; the app opens both files once, and then:
//
//     pocketvlm::Asker asker(context, vision, "runtime");      // contract.json: tiles
//     std::string text = asker.answer(prompt, rgb, side, 32);  // prompt, side, max_new_tokens
//
// or, to know how sure the student is (contract.json: calibration; LABELS, ANSWERS, TEMPERATURE and
// UNSURE_BELOW of DeviceContract.kt):
//
//     const auto said = asker.likelihoods(prompt, rgb, side, answers);
//     const auto choice = pocketvlm::choose(said, temperature, unsure_below);
//     // labels[choice.label], choice.confidence, choice.unsure
//
// `rgb` is the contract's bitmap: side * side pixels of a red, a green and a blue byte. mtmd would
// resize one of another side without a word. What all pictures share is computed once: the text
// before the picture, and the vision tower where all tiles of a picture hold the same pixels.
// Failures are std::runtime_error and do the next call no harm. mtmd promises no stable API: this
// is written for the build that contract.json names under `runtime`.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "llama.h"
#include "mtmd-helper.h"
#include "mtmd.h"

namespace pocketvlm {

struct Choice {
    std::size_t label;  // its place among the answers
    double confidence;  // how likely it is right, 0..1, as measured on pictures of the validation
    bool unsure;        // the app does better to say that it does not know
};

// The likeliest answer and how sure it is: softmax(likelihoods / temperature). Without a calibration
// take temperature 1 and unsure_below 0, which calls nothing unsure.
inline Choice choose(const std::vector<double> &likelihoods, double temperature,
                     double unsure_below) {
    if (likelihoods.empty() || !(temperature > 0)) {
        throw std::runtime_error("pocketvlm: choose needs answers and a temperature above 0");
    }
    const auto best = std::max_element(likelihoods.begin(), likelihoods.end());
    double sum = 0;  // at least 1: the best is among them
    for (const double each : likelihoods) sum += std::exp((each - *best) / temperature);
    const auto label = static_cast<std::size_t>(best - likelihoods.begin());
    return {label, 1 / sum, 1 / sum < unsure_below};
}

class Asker {
public:
    // Context and vision stay the caller's and outlive the Asker. The context's sequences are the
    // Asker's alone: it keeps tokens there from picture to picture. One thread at a time.
    Asker(llama_context *context, mtmd_context *vision, const std::string &tiles)
        : context_(context), vision_(vision), single_(tiles == "single") {
        check(context && vision, "the text file or the vision file is not open");
        check(single_ || tiles == "runtime", "tiles must be runtime or single, not " + tiles);
        vocabulary_ = llama_model_get_vocab(llama_get_model(context));
    }

    // The greedy answer, without the token that ends it. Its bytes need not be whole UTF-8.
    std::string answer(const std::string &prompt, const unsigned char *rgb, int side,
                       int max_new_tokens) {
        std::string text;
        std::vector<float> next = first_logits(prompt, rgb, side);
        for (int left = max_new_tokens; left > 0; left--) {
            const auto likeliest = std::max_element(next.begin(), next.end()) - next.begin();
            const auto token = static_cast<llama_token>(likeliest);
            if (llama_vocab_is_eog(vocabulary_, token)) break;
            text += piece(token);
            if (left == 1) break;
            decode({token});
            next = logits();
        }
        return text;
    }

    // Log-probability of each whole answer, its end token included, in double precision: " word" and
    // the end token, DeviceContract.ANSWERS. The picture is read once, and all answers in one batch
    // where the context has a sequence for each (n_seq_max, best with kv_unified); with fewer, so
    // many at a time.
    std::vector<double> likelihoods(const std::string &prompt, const unsigned char *rgb, int side,
                                    const std::vector<std::string> &answers) {
        std::vector<Tokens> ids;
        for (const std::string &answer : answers) {
            ids.push_back(tokens(answer));
            check(!ids.back().empty(), "an answer is empty");
        }
        const std::vector<float> first = first_logits(prompt, rgb, side);
        std::vector<double> sums;
        for (const Tokens &answer : ids) sums.push_back(log_probability(first.data(), answer[0]));
        const llama_pos end = position_;
        const std::size_t beside = llama_n_seq_max(context_);
        for (std::size_t begin = 0; begin < ids.size(); begin += beside) {
            const std::size_t count = std::min(beside, ids.size() - begin);
            fork(static_cast<llama_seq_id>(count) - 1);
            std::vector<Step> steps;
            for (std::size_t at = 0; at < count; at++) {
                const Tokens &answer = ids[begin + at];
                for (std::size_t place = 0; place + 1 < answer.size(); place++) {
                    steps.push_back({answer[place], answer[place + 1],
                                     end + static_cast<llama_pos>(place),
                                     static_cast<llama_seq_id>(at), begin + at});
                }
            }
            score(steps, sums);
            join();
            rewind(end);
        }
        return sums;
    }

    // Logits of the answer's first token, one for each token of the vocabulary.
    std::vector<float> first_logits(const std::string &prompt, const unsigned char *rgb, int side) {
        const Chunks chunks = cut(prompt, rgb, side);
        const std::vector<Part> parts = parts_of(prompt, chunks);
        const bool once = !single_ && tiles_repeat(side);
        bool encoded = false;
        start(parts.front().text);
        for (std::size_t at = 0; at < parts.size(); at++) {
            if (const mtmd_input_chunk *tile = parts[at].tile) {
                if (!once || !encoded) encode(tile);
                encoded = true;
                decode_tile(tile);
            } else if (at > 0) {
                decode(parts[at].text);
            }
        }
        return logits();
    }

    // Token ids of the whole prompt, <image> where a tile's embeddings go: contract.json, `layout`.
    std::vector<llama_token> ids(const std::string &prompt, const unsigned char *rgb, int side) {
        const Chunks chunks = cut(prompt, rgb, side);
        const llama_token image = tokens("<image>").at(0);
        Tokens ids;
        for (const Part &part : parts_of(prompt, chunks)) {
            ids.insert(ids.end(), part.text.begin(), part.text.end());
            if (part.tile) ids.insert(ids.end(), mtmd_input_chunk_get_n_tokens(part.tile), image);
        }
        return ids;
    }

    // Runs of the vision tower so far; tiles: runtime asks it about noise first, twice as a rule.
    int encodings() const { return encodings_; }

private:
    using Tokens = std::vector<llama_token>;
    using Chunks = std::unique_ptr<mtmd_input_chunks, decltype(&mtmd_input_chunks_free)>;

    struct Part {  // text, or a tile of the picture, which lives as long as its chunks
        Tokens text;
        const mtmd_input_chunk *tile;
    };

    struct Step {  // one token of an answer, and the one that is to come after it
        llama_token token, next;
        llama_pos position;
        llama_seq_id sequence;
        std::size_t answer;
    };

    static void check(bool good, const std::string &reason) {
        if (!good) throw std::runtime_error("pocketvlm: " + reason);
    }

    static void succeeded(int code, const std::string &what) {
        const std::string cause = code == 1 ? ": the context is full, open it with more n_ctx" : "";
        check(code == 0, what + " failed (code " + std::to_string(code) + cause + ")");
    }

    Chunks cut(const std::string &prompt, const unsigned char *rgb, int side) const {
        check(rgb && side > 0, "there is no picture");
        mtmd_input_text text{};
        text.text = prompt.data();
        text.text_len = prompt.size();
        text.parse_special = true;
        const auto pixels = static_cast<uint32_t>(side);
        Chunks chunks(mtmd_input_chunks_init(), mtmd_input_chunks_free);
        mtmd_bitmap *bitmap = mtmd_bitmap_init(pixels, pixels, rgb);
        const mtmd_bitmap *bitmaps[] = {bitmap};
        const int failed = mtmd_tokenize(vision_, chunks.get(), &text, bitmaps, 1);
        mtmd_bitmap_free(bitmap);
        check(!failed, std::string("the prompt must hold ") + mtmd_default_marker() + " once");
        return chunks;
    }

    // The runtime's own parts; or, with tiles: single, the last tile (the overview) between the
    // texts that SmolVLM's own processor writes round a picture of one tile.
    std::vector<Part> parts_of(const std::string &prompt, const Chunks &chunks) const {
        std::vector<Part> parts;
        for (std::size_t at = 0; at < mtmd_input_chunks_size(chunks.get()); at++) {
            const mtmd_input_chunk *chunk = mtmd_input_chunks_get(chunks.get(), at);
            const bool text = mtmd_input_chunk_get_type(chunk) == MTMD_INPUT_CHUNK_TYPE_TEXT;
            std::size_t count = 0;
            const llama_token *ids = mtmd_input_chunk_get_tokens_text(chunk, &count);
            if (single_ && text) continue;
            if (single_) parts.clear();
            parts.push_back({Tokens(ids, ids + count), text ? nullptr : chunk});
        }
        if (!single_) return parts;
        const std::string marker = mtmd_default_marker(), fake = "<fake_token_around_image>";
        const std::size_t place = prompt.find(marker);
        const Tokens before = tokens(prompt.substr(0, place) + fake + "<global-img>");
        const Tokens after = tokens(fake + prompt.substr(place + marker.size()));
        return {{before, nullptr}, parts.front(), {after, nullptr}};
    }

    // Whether all tiles of a picture hold the same pixels, asked once with a picture of noise: of
    // the tower's own side the runtime makes a grid tile and an overview that do.
    bool tiles_repeat(int side) {
        if (side == asked_) return repeat_;
        std::vector<unsigned char> noise(static_cast<std::size_t>(side * side * 3));
        std::mt19937 random;
        for (unsigned char &value : noise) value = static_cast<unsigned char>(random());
        const Chunks chunks = cut(mtmd_default_marker(), noise.data(), side);
        std::vector<float> first;
        repeat_ = true;
        for (const Part &part : parts_of("", chunks)) {
            if (!part.tile || !repeat_) continue;
            encode(part.tile);
            const float *made = mtmd_get_output_embd(vision_);
            const auto width = static_cast<std::size_t>(llama_model_n_embd(llama_get_model(context_)));
            if (first.empty()) first = {made, made + width * mtmd_input_chunk_get_n_tokens(part.tile)};
            repeat_ = std::equal(first.begin(), first.end(), made);
        }
        asked_ = side;
        return repeat_;
    }

    // The text before the picture; it is still there when the last prompt began with the same.
    void start(const Tokens &text) {
        join();
        if (text != kept_) {
            kept_.clear();
            rewind(0);
            decode(text);
            kept_ = text;
        }
        rewind(static_cast<llama_pos>(text.size()));
    }

    void encode(const mtmd_input_chunk *tile) {
        encodings_++;
        check(mtmd_encode_chunk(vision_, tile) == 0, "the vision tower failed on a picture");
    }

    void decode_tile(const mtmd_input_chunk *tile) {  // the tower's last output
        const auto most = static_cast<int32_t>(llama_n_batch(context_));
        float *made = mtmd_get_output_embd(vision_);
        succeeded(mtmd_helper_decode_image_chunk(vision_, context_, tile, made, position_, 0, most,
                                                 &position_, nullptr, nullptr),
                  "decoding a tile");
    }

    void decode(Tokens text) {  // llama.cpp ends the process when a batch is larger than n_batch
        const std::size_t most = llama_n_batch(context_);
        for (std::size_t at = 0; at < text.size(); at += most) {
            const auto count = static_cast<int32_t>(std::min(most, text.size() - at));
            succeeded(llama_decode(context_, llama_batch_get_one(&text[at], count)), "decoding");
            position_ += count;
        }
    }

    // Let so many further sequences begin as sequence 0.
    void fork(llama_seq_id count) {
        while (forked_ < count) {
            llama_memory_seq_cp(llama_get_memory(context_), 0, ++forked_, -1, -1);
        }
    }

    void join() {  // forgets the further sequences, also those that a failure left
        for (; forked_ > 0; forked_--) {
            llama_memory_seq_rm(llama_get_memory(context_), forked_, -1, -1);
        }
    }

    // Add to each answer's sum what the text model makes of its later tokens.
    void score(const std::vector<Step> &steps, std::vector<double> &sums) {
        const std::size_t most = llama_n_batch(context_);
        for (std::size_t begin = 0; begin < steps.size(); begin += most) {
            const auto count = static_cast<int32_t>(std::min(most, steps.size() - begin));
            llama_batch batch = llama_batch_init(count, 0, 1);
            for (int32_t at = 0; at < count; at++) {
                const Step &step = steps[begin + static_cast<std::size_t>(at)];
                batch.token[at] = step.token;
                batch.pos[at] = step.position;
                batch.n_seq_id[at] = 1;
                batch.seq_id[at][0] = step.sequence;
                batch.logits[at] = true;
            }
            batch.n_tokens = count;
            const int code = llama_decode(context_, batch);
            llama_batch_free(batch);
            succeeded(code, "decoding the answers");
            for (int32_t at = 0; at < count; at++) {
                const Step &step = steps[begin + static_cast<std::size_t>(at)];
                sums[step.answer] += log_probability(llama_get_logits_ith(context_, at), step.next);
            }
        }
    }

    double log_probability(const float *logits, llama_token token) const {
        const int32_t size = llama_vocab_n_tokens(vocabulary_);
        const double most = *std::max_element(logits, logits + size);
        double sum = 0;
        for (int32_t at = 0; at < size; at++) sum += std::exp(logits[at] - most);
        return logits[token] - most - std::log(sum);
    }

    void rewind(llama_pos position) {
        check(llama_memory_seq_rm(llama_get_memory(context_), 0, position, -1),
              "llama.cpp cannot shorten its cache");
        position_ = position;
    }

    std::vector<float> logits() const {
        const float *last = llama_get_logits_ith(context_, -1);
        return {last, last + llama_vocab_n_tokens(vocabulary_)};
    }

    Tokens tokens(const std::string &text) const {  // special tokens parsed, none added
        Tokens ids(text.size() + 1);
        const auto room = static_cast<int32_t>(ids.size());
        const int count = llama_tokenize(vocabulary_, text.data(), room - 1, ids.data(), room,
                                         false, true);
        check(count >= 0, "llama.cpp cannot tokenise: " + text);
        ids.resize(static_cast<std::size_t>(count));
        return ids;
    }

    std::string piece(llama_token token) const {
        const int size = -llama_token_to_piece(vocabulary_, token, nullptr, 0, 0, true);
        std::string text(static_cast<std::size_t>(size), '\0');
        llama_token_to_piece(vocabulary_, token, &text[0], size, 0, true);
        return text;
    }

    llama_context *context_;
    mtmd_context *vision_;
    const llama_vocab *vocabulary_ = nullptr;
    bool single_;
    int asked_ = 0;  // the side that tiles_repeat was asked about
    bool repeat_ = false;
    int encodings_ = 0;
    llama_pos position_ = 0;  // of the next token
    llama_seq_id forked_ = 0;  // further sequences that begin as sequence 0
    Tokens kept_;
};

}  // namespace pocketvlm
