// SPDX-License-Identifier: Apache-2.0
// What every policy of the registry promises where keys and values are real: attention and cache as
// the engine runs them, over made-up projections.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "attention/cached_attention.h"
#include "policies/made_up_calibration.h"
#include "policies/registry.h"

namespace nextscale {
namespace {

Geometry geometry(int64_t query_heads, int64_t kv_heads) {
  return {.layers = 2,
          .query_heads = query_heads,
          .kv_heads = kv_heads,
          .head_dim = 8,
          .scales = {{1, 1}, {2, 2}, {3, 4}, {5, 5}, {4, 6}}};
}

const Geometry kGrouped = geometry(4, 2);

constexpr float kScale = 0.35F;
constexpr size_t kScratchBytes = size_t{1} << 22;

// One picture's two rows are images 2i and 2i + 1 of the random numbers.
struct BatchRun {
  std::vector<int> images = {0};
  int threads = 1;
  DType dtype = DType::kF32;  // of keys and values as they are made
  DType kept = DType::kF32;   // and in the cache
  // Query heads that repeat each made-up one.
  int64_t repeats = 1;
};

struct RowResult {
  std::vector<float> out;                  // of all steps and layers, one after the other
  std::vector<std::vector<int32_t>> kept;  // of all steps, layers and heads: ids of tokens

  bool operator==(const RowResult&) const = default;
};

// By image and which of its rows.
using Results = std::map<std::pair<int, int>, RowResult>;

class Projections {
 public:
  Projections(const Geometry& geometry, const BatchRun& run) : geometry_(geometry), run_(run) {}

  // [rows, heads, tokens, head_dim]; rows are the guided ones of all images, then the others.
  std::vector<float> make(int step, int64_t layer, uint64_t which, int64_t heads,
                          int64_t repeats) const {
    std::vector<float> result;
    const auto rows = 2 * static_cast<int64_t>(run_.images.size());
    const int64_t head_floats = geometry_.tokens(step) * geometry_.head_dim;
    for (int64_t row = 0; row < rows; ++row) {
      const auto image = static_cast<size_t>(row) % run_.images.size();
      const int source =
          2 * run_.images[image] + (row < static_cast<int64_t>(run_.images.size()) ? 0 : 1);
      for (int64_t head = 0; head < heads; ++head) {
        uint64_t state = (((static_cast<uint64_t>(source) * 31 + static_cast<uint64_t>(step)) * 31 +
                           static_cast<uint64_t>(layer)) *
                              31 +
                          which) *
                             31 +
                         static_cast<uint64_t>(head / repeats);
        for (int64_t at = 0; at < head_floats; ++at) result.push_back(next(&state));
      }
    }
    return result;
  }

 private:
  // A linear congruential generator (Knuth's constants) is random enough here. In (-2, 2).
  static float next(uint64_t* state) {
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<float>(static_cast<int32_t>(*state >> 33)) / 0x1p29F - 2.0F;
  }

  const Geometry& geometry_;
  const BatchRun& run_;
};

std::vector<BFloat16> to_bf16(const std::vector<float>& values) {
  std::vector<BFloat16> result;
  for (const float value : values) result.push_back(nextscale::to_bf16(value));
  return result;
}

class Generation {
 public:
  Generation(const Policy& policy, const Geometry& geometry, const BatchRun& run)
      : geometry_(geometry),
        run_(run),
        rows_(2 * static_cast<int64_t>(run.images.size())),
        schedule_(policy.schedule(geometry)),
        cache_({.layers = geometry.layers,
                .rows = rows_,
                .kv_heads = geometry.kv_heads,
                .head_dim = geometry.head_dim,
                .dtype = run.kept,
                .token_scores = policy.needs().token_scores()},
               schedule_),
        scratch_(kScratchBytes, "a test"),
        attention_({.geometry = geometry,
                    .rows = rows_,
                    .images = static_cast<int64_t>(run.images.size()),
                    .kv_dtype = run.dtype,
                    .softmax_scale = kScale,
                    .policy = &policy},
                   schedule_, cache_),
        kept_(static_cast<size_t>(geometry.layers * rows_ * geometry.kv_heads)) {
    needs_layer_budgets_ = policy.needs().layer_budgets;
    context_.num_threads = run.threads;
    context_.kernels = &kernels::cpu_table();
    context_.scratch = &scratch_;
    attention_.observe([this](int64_t row, const HeadStatistics& head, const Selection& selection) {
      note(row, head, selection);
    });
  }

  Results run() {
    for (step_ = 0; step_ < geometry_.num_scales(); ++step_) {
      attention_.begin_scale(step_);
      for (int64_t layer = 0; layer < geometry_.layers; ++layer) {
        run_layer(layer);
        if (step_ + 1 < geometry_.num_scales()) check_bytes(layer);
      }
    }
    return std::move(results_);
  }

 private:
  RowResult& result_of(int64_t row) {
    const auto images = static_cast<int64_t>(run_.images.size());
    return results_[{run_.images[static_cast<size_t>(row % images)], row < images ? 0 : 1}];
  }

  void run_layer(int64_t layer) {
    const Projections projections(geometry_, run_);
    const std::vector<float> q =
        projections.make(step_, layer, 0, geometry_.query_heads, run_.repeats);
    const std::vector<float> k = projections.make(step_, layer, 1, geometry_.kv_heads, 1);
    const std::vector<float> v = projections.make(step_, layer, 2, geometry_.kv_heads, 1);
    const std::vector<BFloat16> short_k = to_bf16(k);
    const std::vector<BFloat16> short_v = to_bf16(v);
    const bool is_short = run_.dtype == DType::kBF16;
    std::vector<float> out(q.size());
    attention_.run(context_, layer,
                   {.q = q.data(),
                    .k = is_short ? static_cast<const void*>(short_k.data()) : k.data(),
                    .v = is_short ? static_cast<const void*>(short_v.data()) : v.data()},
                   {.data = out.data(), .dtype = DType::kF32});
    const size_t row_floats = out.size() / static_cast<size_t>(rows_);
    for (int64_t row = 0; row < rows_; ++row) {
      const auto first =
          out.begin() + static_cast<ptrdiff_t>(row * static_cast<int64_t>(row_floats));
      auto& all = result_of(row).out;
      all.insert(all.end(), first, first + static_cast<ptrdiff_t>(row_floats));
    }
    for (int64_t row = 0; row < rows_; ++row) {
      for (int64_t head = 0; head < geometry_.kv_heads; ++head) {
        auto& kept = kept_[list_of(layer, row, head)];
        result_of(row).kept.push_back(kept);
      }
    }
  }

  // What is held is what the schedule says, right after every layer, and never more than what was
  // reserved, which is what was planned.
  void check_bytes(int64_t layer) const {
    const CacheShape shape{.layers = geometry_.layers,
                           .rows = rows_,
                           .kv_heads = geometry_.kv_heads,
                           .head_dim = geometry_.head_dim,
                           .dtype = run_.kept};
    const size_t scheduled =
        static_cast<size_t>(rows_ * schedule_.held(step_, layer)) * KvCache::token_bytes(shape);
    const CacheBytes& allocated = cache_.allocated();
    if (needs_layer_budgets_) {
      EXPECT_LE(cache_.held_bytes(), scheduled);
    } else {
      EXPECT_EQ(cache_.held_bytes(), scheduled);
    }
    EXPECT_LE(cache_.held_bytes(), allocated.keys_values + allocated.factors);
    const CacheBytes planned = KvCache::planned_bytes(shape, schedule_);
    EXPECT_EQ(allocated.keys_values, planned.keys_values);
    EXPECT_EQ(allocated.factors, planned.factors);
    EXPECT_EQ(allocated.scale_ids, planned.scale_ids);
  }

  size_t list_of(int64_t layer, int64_t row, int64_t head) const {
    return static_cast<size_t>((layer * rows_ + row) * geometry_.kv_heads + head);
  }

  // Called from several threads, for different lists.
  void note(int64_t row, const HeadStatistics& head, const Selection& selection) {
    auto& kept = kept_[list_of(head.layer, row, head.head)];
    const auto cached = static_cast<int32_t>(kept.size());
    const auto first = static_cast<int32_t>(geometry_.tokens_through(step_ - 1));
    std::vector<int32_t> next;
    for (int64_t at = 0; at < selection.num_keep; ++at) {
      const int32_t position = selection.keep[static_cast<size_t>(at)];
      next.push_back(position < cached ? kept[static_cast<size_t>(position)]
                                       : first + position - cached);
    }
    kept = std::move(next);
  }

  const Geometry& geometry_;
  const BatchRun& run_;
  int64_t rows_;
  Schedule schedule_;
  KvCache cache_;
  Arena scratch_;
  Context context_;
  CachedAttention attention_;
  std::vector<std::vector<int32_t>> kept_;  // [layers, rows, kv_heads] ids in the cache
  Results results_;
  bool needs_layer_budgets_ = false;
  int step_ = 0;
};

class EveryPolicy : public testing::TestWithParam<PolicyRow> {
 protected:
  Results generate(const std::string& budget, const BatchRun& run,
                   const Geometry& geometry = kGrouped) const {
    return generate_with(std::string(GetParam().name), budget, run, geometry);
  }

  // `full` has no budget.
  static Results generate_with(const std::string& name, const std::string& budget,
                               const BatchRun& run, const Geometry& geometry = kGrouped) {
    const Calibration calibration = made_up_calibration(geometry);
    const auto policy =
        make_policy(parse_policy_spec(name == "full" ? name : name + ":budget=" + budget),
                    {.geometry = geometry, .calibration = &calibration});
    return Generation(*policy, geometry, run).run();
  }
};

// As keys and values are made, and as they are cached.
constexpr std::pair<DType, DType> kTypes[] = {{DType::kF32, DType::kF32},
                                              {DType::kBF16, DType::kBF16},
                                              {DType::kF32, DType::kI8},
                                              {DType::kBF16, DType::kI8}};

TEST_P(EveryPolicy, AWholeBudgetIsTheFullCacheBitForBit) {
  for (const auto& [dtype, kept] : kTypes) {
    const BatchRun run{.dtype = dtype, .kept = kept};
    EXPECT_EQ(generate("100%", run).at({0, 0}).out, generate_with("full", "", run).at({0, 0}).out);
  }
}

TEST_P(EveryPolicy, NeitherBatchNorThreadsNorTheOrderOfRowsChangeABit) {
  for (const DType kept : {DType::kF32, DType::kI8}) {
    for (const char* budget : {"40%", "10%", "1tok"}) {
      const Results together = generate(budget, {.images = {0, 1, 2}, .threads = 3, .kept = kept});
      EXPECT_EQ(together, generate(budget, {.images = {2, 0, 1}, .kept = kept})) << budget;
      for (const int image : {0, 1, 2}) {
        for (const auto& [row, result] : generate(budget, {.images = {image}, .kept = kept})) {
          EXPECT_EQ(result, together.at(row)) << budget << " image " << image;
        }
      }
    }
  }
}

TEST_P(EveryPolicy, HoldsWhatItsScheduleSaysInEveryType) {
  for (const char* budget : {"100%", "50%", "30%", "10%", "1tok"}) {
    for (const auto& [dtype, kept] : kTypes) {
      generate(budget, {.images = {0, 1}, .dtype = dtype, .kept = kept});
    }
  }
}

TEST_P(EveryPolicy, KeepsTokensInTheOrderInWhichTheyWereMade) {
  for (const auto& [row, result] : generate("20%", {})) {
    for (const std::vector<int32_t>& ids : result.kept) {
      EXPECT_TRUE(std::ranges::is_sorted(ids));
      EXPECT_EQ(std::ranges::adjacent_find(ids), ids.end());
    }
  }
}

// A group whose query heads are alike chooses what one of them would.
TEST_P(EveryPolicy, GroupsOfQueryHeadsChooseTogether) {
  const Results grouped = generate("30%", {.repeats = 2}, kGrouped);
  const Results alone = generate("30%", {}, geometry(2, 2));
  for (const auto& [row, result] : alone) EXPECT_EQ(result.kept, grouped.at(row).kept);
}

// Values are in (-2, 2): one is stored within half of 2 / 127, a score moves by a few times that.
TEST(Int8Cache, AttendsNearlyWhatF32Does) {
  const auto policy = make_policy(parse_policy_spec("full"), {.geometry = kGrouped});
  const RowResult exact = Generation(*policy, kGrouped, {}).run().at({0, 0});
  const RowResult rounded = Generation(*policy, kGrouped, {.kept = DType::kI8}).run().at({0, 0});
  double squares = 0;
  for (size_t at = 0; at < exact.out.size(); ++at) {
    ASSERT_NEAR(rounded.out[at], exact.out[at], 0.03) << at;
    squares += std::pow(rounded.out[at] - exact.out[at], 2);
  }
  EXPECT_NE(rounded.out, exact.out);
  EXPECT_LT(std::sqrt(squares / static_cast<double>(exact.out.size())), 0.003);
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryPolicy,
                         testing::ValuesIn(policy_table().begin(), policy_table().end()),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace nextscale
