// SPDX-License-Identifier: Apache-2.0
// Random schedules and random ragged choices, compared after every layer with plain vectors.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "cache/kv_cache.h"
#include "core/int8_row.h"

namespace nextscale {
namespace {

constexpr CacheShape kShape{.layers = 3, .rows = 2, .kv_heads = 3, .head_dim = 5};
constexpr int64_t kLists = kShape.rows * kShape.kv_heads;
constexpr int64_t kTokens[] = {1, 4, 9, 6, 20, 3, 12};  // of each step
// Few: threads that wait for each other are slow on a busy machine.
constexpr unsigned kThreadedRuns = 25;
constexpr int kSteps = static_cast<int>(std::size(kTokens));

enum class Pattern {
  kGrows,    // lists never shrink: every list has its own place
  kChanges,  // lists share places
  kBounds,   // the same, and lists are shorter than scheduled
};

struct FuzzCase {
  Pattern pattern;
  DType cached;
  DType current;
};

// What a token is made from: all its values follow from these.
struct Token {
  int number = 0;
  int merges = 0;
  int scale = 0;
  float score = 0;
};

float element(const Token& token, bool is_key, int64_t feature) {
  const int seed = token.number * 7919 + token.merges * 104729 + (is_key ? 31 : 0);
  const auto value = static_cast<float>((seed + static_cast<int>(feature) * 613) % 2003);
  return value / 1000.0F - 1.0F;
}

// The bytes of a key or a value, as the block hands them over.
template <typename Element>
std::vector<Element> row_of(const Token& token, bool is_key) {
  std::vector<Element> row;
  for (int64_t feature = 0; feature < kShape.head_dim; ++feature) {
    if constexpr (std::is_same_v<Element, BFloat16>) {
      row.push_back(to_bf16(element(token, is_key, feature)));
    } else {
      row.push_back(element(token, is_key, feature));
    }
  }
  return row;
}

class CacheFuzz : public testing::TestWithParam<FuzzCase> {
 protected:
  using List = std::vector<Token>;

  // Lengths that a step may have, and the most that memory is reserved for.
  Schedule random_schedule() {
    Schedule schedule(kSteps, kShape.layers, kShape.kv_heads);
    for (int64_t layer = 0; layer < kShape.layers; ++layer) {
      for (int64_t head = 0; head < kShape.kv_heads; ++head) {
        int64_t length = 0;
        for (int step = 0; step + 1 < kSteps; ++step) {
          const int64_t least = GetParam().pattern == Pattern::kGrows ? length : 0;
          length = below(least, length + kTokens[step]);
          schedule.cached(step, layer, head) = length;
        }
      }
    }
    return schedule;
  }

  // Bounds that no list reaches alone, with the tight limit of all together.
  static Schedule bounds_of(const Schedule& schedule) {
    Schedule bounds = schedule;
    for (int step = 0; step + 1 < kSteps; ++step) {
      for (int64_t layer = 0; layer < kShape.layers; ++layer) {
        for (int64_t head = 0; head < kShape.kv_heads; ++head) {
          bounds.cached(step, layer, head) += 10;
        }
        bounds.limit_held(step, layer, schedule.held(step, layer));
      }
    }
    return bounds;
  }

  int64_t below(int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random_);
  }

  template <typename Element>
  void run(unsigned seed) {
    random_.seed(seed);
    next_number_ = 0;
    lists_.assign(static_cast<size_t>(kShape.layers * kLists), {});
    const Schedule schedule = random_schedule();
    CacheShape shape = kShape;
    shape.dtype = GetParam().cached;
    shape.token_scores = seed % 2 == 1;
    const bool bounds = GetParam().pattern == Pattern::kBounds;
    KvCache cache(shape, bounds ? bounds_of(schedule) : schedule);
    Context context;
    context.num_threads = seed % kThreadedRuns == 0 ? 2 : 1;
    for (int step = 0; step + 1 < kSteps; ++step) {
      for (int64_t layer = 0; layer < kShape.layers; ++layer) {
        store<Element>(context, cache, schedule, step, layer);
        check<Element>(cache, shape);
        if (HasFailure()) {
          ADD_FAILURE() << "seed " << seed << " step " << step << " layer " << layer;
          return;
        }
      }
    }
  }

  // One list's choice and the memory that it lies in.
  template <typename Element>
  struct Choice {
    std::vector<Element> k, v, merged_k, merged_v;
    std::vector<int32_t> positions;
    std::vector<float> scores;
    std::vector<uint8_t> absorbed;
  };

  template <typename Element>
  void store(const Context& context, KvCache& cache, const Schedule& schedule, int step,
             int64_t layer) {
    std::vector<Choice<Element>> choices(kLists);
    std::vector<KeptTokens> kept(kLists);
    for (int64_t index = 0; index < kLists; ++index) {
      const auto at = static_cast<size_t>(index);
      List& list = lists_[static_cast<size_t>(layer * kLists) + at];
      const auto cached = static_cast<int64_t>(list.size());
      add_current(step, list, choices[at]);
      // Rows may keep less than is scheduled.
      const auto scheduled = schedule.cached(step, layer, index % kShape.kv_heads);
      int64_t length = std::min(scheduled, static_cast<int64_t>(list.size()));
      if (GetParam().pattern == Pattern::kBounds) length = below(length / 2, length);
      choose(length, list, choices[at]);
      kept[at] = describe(step, cached, list, choices[at]);
    }
    cache.store(context, layer, step, kept);
  }

  template <typename Element>
  void add_current(int step, List& list, Choice<Element>& choice) {
    for (int64_t token = 0; token < kTokens[step]; ++token) {
      const Token added{.number = next_number_++, .scale = step};
      list.push_back(added);
      append_row(choice.k, row_of<Element>(added, true));
      append_row(choice.v, row_of<Element>(added, false));
    }
  }

  template <typename Element>
  static void append_row(std::vector<Element>& rows, const std::vector<Element>& row) {
    rows.insert(rows.end(), row.begin(), row.end());
  }

  // Picks `length` candidates, gives all new scores, and lets some of the picked absorb others.
  template <typename Element>
  void choose(int64_t length, List& list, Choice<Element>& choice) {
    std::vector<int32_t> all(list.size());
    for (size_t at = 0; at < all.size(); ++at) all[at] = static_cast<int32_t>(at);
    std::ranges::sample(all, std::back_inserter(choice.positions), length, random_);
    for (Token& token : list) {
      token.score = static_cast<float>(below(0, 1000));
      choice.scores.push_back(token.score);
    }
    List kept;
    const bool merges = below(0, 1) == 1;
    for (const int32_t position : choice.positions) {
      Token& token = kept.emplace_back(list[static_cast<size_t>(position)]);
      if (!merges) continue;
      choice.absorbed.push_back(below(0, 3) == 0 ? 1 : 0);
      token.merges += choice.absorbed.back();
      // Rows that absorbed nothing are not read.
      const Token read = choice.absorbed.back() == 1 ? token : Token{.number = 99999};
      append_row(choice.merged_k, row_of<Element>(read, true));
      append_row(choice.merged_v, row_of<Element>(read, false));
    }
    list = kept;
  }

  // Everything may also be said with no positions.
  template <typename Element>
  KeptTokens describe(int step, int64_t cached, const List& list,
                      const Choice<Element>& choice) const {
    const DType dtype = GetParam().current;
    KeptTokens kept{.current = {.k = choice.k.data(),
                                .v = choice.v.data(),
                                .tokens = kTokens[step],
                                .dtype = dtype},
                    .positions = choice.positions,
                    .scores = choice.scores};
    if (static_cast<int64_t>(list.size()) == cached + kTokens[step]) kept.positions = {};
    kept.absorbed = choice.absorbed;
    kept.merged = {.k = choice.merged_k.data(),
                   .v = choice.merged_v.data(),
                   .tokens = static_cast<int64_t>(choice.positions.size()),
                   .dtype = dtype};
    return kept;
  }

  template <typename Element>
  void check(const KvCache& cache, const CacheShape& shape) const {
    size_t tokens = 0;
    for (int64_t index = 0; index < static_cast<int64_t>(lists_.size()); ++index) {
      const List& list = lists_[static_cast<size_t>(index)];
      tokens += list.size();
      const int64_t layer = index / kLists;
      const int64_t row = index % kLists / kShape.kv_heads;
      const int64_t head = index % kShape.kv_heads;
      const kernels::KvSegment segment = cache.segment(layer, row, head);
      ASSERT_EQ(segment.tokens, static_cast<int64_t>(list.size())) << "list " << index;
      ASSERT_EQ(segment.dtype, shape.dtype);
      const auto ids = cache.scale_ids(layer, row, head);
      const auto scores = cache.token_scores({layer, row, head});
      for (size_t at = 0; at < list.size(); ++at) {
        ASSERT_EQ(ids[at], list[at].scale) << "list " << index << " token " << at;
        if (shape.token_scores) {
          ASSERT_EQ(scores[at], list[at].score);
        }
        ASSERT_TRUE(is_row<Element>(segment.k, segment.k_factors, at, list[at], true));
        ASSERT_TRUE(is_row<Element>(segment.v, segment.v_factors, at, list[at], false));
      }
    }
    const size_t row_bytes = static_cast<size_t>(shape.head_dim) * dtype_bytes(shape.dtype) +
                             (shape.dtype == DType::kI8 ? sizeof(float) : 0);
    EXPECT_EQ(cache.held_bytes(), tokens * 2 * row_bytes);
    EXPECT_LE(cache.held_bytes(), cache.allocated().keys_values + cache.allocated().factors);
  }

  // An int8 row is what storing its token once gives, however often it moved since.
  template <typename Element>
  static bool is_row(const void* rows, const float* factors, size_t at, const Token& token,
                     bool is_key) {
    const std::vector<Element> wanted = row_of<Element>(token, is_key);
    if (factors == nullptr) {
      const size_t bytes = wanted.size() * sizeof(Element);
      return std::memcmp(static_cast<const std::byte*>(rows) + at * bytes, wanted.data(), bytes) ==
             0;
    }
    std::vector<int8_t> quantized(wanted.size());
    const float factor = quantize_row(std::span<const Element>(wanted), quantized);
    return factor == factors[at] &&
           std::memcmp(static_cast<const int8_t*>(rows) + at * wanted.size(), quantized.data(),
                       wanted.size()) == 0;
  }

  std::mt19937 random_;
  int next_number_ = 0;
  std::vector<List> lists_;  // [layers, rows, kv_heads]
};

TEST_P(CacheFuzz, HoldsWhatPlainVectorsHold) {
  constexpr unsigned kSeeds = 60;
  for (unsigned seed = 0; seed < kSeeds && !HasFailure(); ++seed) {
    if (GetParam().current == DType::kBF16) {
      run<BFloat16>(seed);
    } else {
      run<float>(seed);
    }
  }
}

std::vector<FuzzCase> fuzz_cases() {
  std::vector<FuzzCase> cases;
  for (const Pattern pattern : {Pattern::kGrows, Pattern::kChanges, Pattern::kBounds}) {
    cases.push_back({pattern, DType::kF32, DType::kF32});
    cases.push_back({pattern, DType::kBF16, DType::kBF16});
    cases.push_back({pattern, DType::kI8, DType::kF32});
    cases.push_back({pattern, DType::kI8, DType::kBF16});
  }
  return cases;
}

std::string case_name(const testing::TestParamInfo<FuzzCase>& info) {
  constexpr const char* kNames[] = {"Grows", "Changes", "Bounds"};
  return std::string(kNames[static_cast<size_t>(info.param.pattern)]) + "_" +
         std::string(dtype_name(info.param.cached)) + "_from_" +
         std::string(dtype_name(info.param.current));
}

INSTANTIATE_TEST_SUITE_P(Patterns, CacheFuzz, testing::ValuesIn(fuzz_cases()), case_name);

}  // namespace
}  // namespace nextscale
