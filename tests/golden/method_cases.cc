// SPDX-License-Identifier: Apache-2.0
// Compression methods against an independent reference (tests/data/methods/README.md): the same
// queries, keys and values are fed whatever a method returns, through the engine's own attention
// and cache; what was attended and kept must be the same tokens.
#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#include "attention/cached_attention.h"
#include "core/error_format.h"
#include "golden/golden_case.h"
#include "golden/method_case.h"
#include "policies/head_calibration.h"
#include "policies/heatkv.h"
#include "policies/registry.h"
#include "policies/scalekv.h"

namespace nextscale::golden {
namespace {

// README.md of the cases.
constexpr double kOutputTolerance = 2e-5;
constexpr double kScoreTolerance = 1e-5;  // relative
constexpr double kStatisticTolerance = 1e-5;
constexpr double kZScoreTolerance = 1e-3;

constexpr size_t kScratchBytes = size_t{1} << 24;

std::unique_ptr<Policy> make_method(const GoldenCase& golden, const nlohmann::json& run) {
  const Calibration calibration = calibration_of(golden);
  return make_policy(policy_spec(golden, run),
                     {.geometry = geometry_of(golden.config), .calibration = &calibration});
}

// One integer tensor [layers, rows, heads, most] padded with -1, and where a head's list lies.
struct Expected {
  std::vector<float> values;
  int64_t most = 0;

  template <typename Value>
  std::vector<Value> list(int64_t index) const {
    const auto first = values.begin() + index * most;
    std::vector<Value> result;
    for (auto at = first; at != first + most; ++at) result.push_back(static_cast<Value>(*at));
    return result;
  }
};

class Replay {
 public:
  Replay(const GoldenCase& golden, const nlohmann::json& run, const kernels::KernelTable& table)
      : geometry_(geometry_of(golden.config)),
        rows_(golden.config.at("B")),
        inputs_(golden.folder / "inputs.safetensors"),
        expected_(golden.folder / run.at("file").get<std::string>()),
        policy_(make_method(golden, run)),
        schedule_(policy_->schedule(geometry_)),
        cache_({.layers = geometry_.layers,
                .rows = rows_,
                .kv_heads = geometry_.kv_heads,
                .head_dim = geometry_.head_dim,
                .dtype = DType::kF32,
                .token_scores = policy_->needs().token_scores()},
               schedule_),
        scratch_(kScratchBytes, "a test"),
        attention_({.geometry = geometry_,
                    .rows = rows_,
                    .softmax_scale = golden.config.at("scale").get<float>(),
                    .policy = policy_.get()},
                   schedule_, cache_) {
    context_.kernels = &table;
    context_.scratch = &scratch_;
    kept_.resize(static_cast<size_t>(geometry_.layers * rows_ * geometry_.kv_heads));
    attention_.observe([this](int64_t row, const HeadStatistics& head, const Selection& selection) {
      check_selection(row, head, selection);
    });
  }

  void run() {
    for (step_ = 0; step_ < geometry_.num_scales(); ++step_) {
      attention_.begin_scale(step_);
      attended_ids_ = integers("attended");
      kept_ids_ = integers("kept");
      scores_ = floats("score");
      for (int64_t layer = 0; layer < geometry_.layers; ++layer) check_layer(layer);
      if (expected_.find(name("cache_k")) != nullptr) check_caches();
      if (testing::Test::HasFailure()) return;
    }
  }

 private:
  std::string name(const char* part) const { return fmt::format("s{:02}.{}", step_, part); }

  Expected floats(const char* part) const {
    if (expected_.find(name(part)) == nullptr) return {};
    return {.values = expected_values(expected_, name(part)),
            .most = expected_.view(name(part)).shape[3]};
  }

  Expected integers(const char* part) const {
    const ConstTensorView view = expected_.view(name(part));
    const auto* first = view.as<int32_t>();
    Expected result{.values = {}, .most = view.shape[3]};
    for (int64_t at = 0; at < view.shape.num_elements(); ++at) {
      result.values.push_back(static_cast<float>(first[at]));
    }
    return result;
  }

  int64_t list_index(int64_t layer, int64_t row, int64_t head) const {
    return (layer * rows_ + row) * geometry_.kv_heads + head;
  }

  void check_layer(int64_t layer) {
    const int64_t tokens = geometry_.tokens(step_);
    const int64_t floats = rows_ * geometry_.kv_heads * tokens * geometry_.head_dim;
    const auto part = [&](const char* which) {
      return inputs_.view(name(which)).as<float>() + layer * floats;
    };
    std::vector<float> out(static_cast<size_t>(floats));
    attention_.run(context_, layer, {.q = part("q"), .k = part("k"), .v = part("v")},
                   {.data = out.data(), .dtype = DType::kF32});
    const std::vector<float> want = expected_values(expected_, name("o"));
    expect_close(fmt::format("{} layer {}", name("o"), layer), by_heads(out),
                 std::span(want).subspan(layer * floats, floats), kOutputTolerance);
  }

  // [rows, tokens, heads, head_dim] to [rows, heads, tokens, head_dim].
  std::vector<float> by_heads(const std::vector<float>& out) const {
    const int64_t tokens = geometry_.tokens(step_);
    const int64_t heads = geometry_.kv_heads;
    std::vector<float> result;
    for (int64_t list = 0; list < rows_ * heads; ++list) {
      for (int64_t token = 0; token < tokens; ++token) {
        const int64_t first = ((list / heads * tokens + token) * heads + list % heads);
        const auto from = out.begin() + first * geometry_.head_dim;
        result.insert(result.end(), from, from + geometry_.head_dim);
      }
    }
    return result;
  }

  // Candidate positions to global token ids: the cached ones, then the current scale.
  void check_selection(int64_t row, const HeadStatistics& head, const Selection& selection) {
    const int64_t index = list_index(head.layer, row, head.head);
    std::vector<int32_t> ids = kept_[static_cast<size_t>(index)];
    const auto first = static_cast<int32_t>(geometry_.tokens_through(step_ - 1));
    for (int32_t token = 0; token < geometry_.tokens(step_); ++token) ids.push_back(first + token);
    const std::string where =
        fmt::format("step {} layer {} row {} head {}: ", step_, head.layer, row, head.head);
    const auto ids_of = [&](std::span<const int32_t> positions, int64_t count) {
      std::vector<int32_t> result;
      for (const int32_t position : positions.first(static_cast<size_t>(count))) {
        result.push_back(ids.at(static_cast<size_t>(position)));
      }
      return result;
    };
    const std::vector<int32_t> kept = ids_of(selection.keep, selection.num_keep);
    EXPECT_EQ(ids_of(selection.attend, selection.num_attend), wanted_ids(attended_ids_, index))
        << where << "attended";
    EXPECT_EQ(kept, wanted_ids(kept_ids_, index)) << where << "kept";
    if (policy_->needs().attention()) check_scores(where, index, head, selection);
    kept_[static_cast<size_t>(index)] = kept;
  }

  static std::vector<int32_t> wanted_ids(const Expected& expected, int64_t index) {
    auto result = expected.list<int32_t>(index);
    std::erase(result, -1);
    return result;
  }

  // Where the reference gives a score. A selection that compared no scores has none; accumulated
  // ones exist before anything is evicted.
  void check_scores(const std::string& where, int64_t index, const HeadStatistics& head,
                    const Selection& selection) const {
    if (scores_.values.empty()) return;
    const auto want = scores_.list<float>(index);
    const std::span<const float> got =
        head.accumulated.empty() ? std::span<const float>(selection.score) : head.accumulated;
    if (std::ranges::all_of(got, [](float score) { return std::isnan(score); })) return;
    for (size_t at = 0; at < got.size(); ++at) {
      if (std::isnan(want.at(at)) || got[at] == want[at]) continue;  // protected: infinite
      EXPECT_NEAR(got[at], want[at], kScoreTolerance * std::abs(want[at]))
          << where << "score " << at;
    }
  }

  void check_caches() const {
    const Expected keys = floats_of_cache("cache_k");
    const Expected values = floats_of_cache("cache_v");
    for (int64_t index = 0; index < static_cast<int64_t>(kept_.size()); ++index) {
      const int64_t head = index % geometry_.kv_heads;
      const int64_t row = index / geometry_.kv_heads % rows_;
      const kernels::KvSegment segment =
          cache_.segment(index / geometry_.kv_heads / rows_, row, head);
      if (step_ + 1 == geometry_.num_scales()) continue;  // the last step's cache is not kept
      check_cache(fmt::format("{} list {}", name("cache_k"), index), segment.k, segment.tokens,
                  keys.list<float>(index));
      check_cache(fmt::format("{} list {}", name("cache_v"), index), segment.v, segment.tokens,
                  values.list<float>(index));
    }
  }

  Expected floats_of_cache(const char* part) const {
    const Shape shape = expected_.view(name(part)).shape;
    return {.values = expected_values(expected_, name(part)), .most = shape[3] * shape[4]};
  }

  void check_cache(const std::string& what, const void* data, int64_t tokens,
                   const std::vector<float>& want) const {
    const auto count = static_cast<size_t>(tokens * geometry_.head_dim);
    ASSERT_LE(count, want.size()) << what;
    expect_close(what, {static_cast<const float*>(data), count}, std::span(want).first(count),
                 kOutputTolerance);
  }

  Geometry geometry_;
  int64_t rows_;
  SafetensorsFile inputs_;
  SafetensorsFile expected_;
  std::unique_ptr<Policy> policy_;
  Schedule schedule_;
  KvCache cache_;
  Arena scratch_;
  Context context_;
  CachedAttention attention_;
  int step_ = 0;
  Expected attended_ids_;
  Expected kept_ids_;
  Expected scores_;
  std::vector<std::vector<int32_t>> kept_;  // [layers, rows, heads] ids in the cache
};

class MethodTest : public testing::Test {
 public:
  MethodTest(GoldenCase golden, nlohmann::json run)
      : golden_(std::move(golden)), run_(std::move(run)) {}

  void TestBody() override {
    for (const kernels::KernelTable* table : {&kernels::ref_table(), &kernels::cpu_table()}) {
      SCOPED_TRACE(std::string(table->name));
      Replay(golden_, run_, *table).run();
    }
  }

 private:
  GoldenCase golden_;
  nlohmann::json run_;
};

// What is derived from the statistics of a case.
class CalibrationTest : public testing::Test {
 public:
  explicit CalibrationTest(GoldenCase golden)
      : golden_(std::move(golden)),
        file_(golden_.folder / "expected_calibration.safetensors"),
        calibration_(calibration_of(golden_)) {}

  void TestBody() override {
    require_calibration_of(calibration_, geometry_of(golden_.config));
    check("gamma", history_reliance(calibration_), kStatisticTolerance);
    check("scas", later_attention(calibration_), kStatisticTolerance);
    check("asi_z", asi_z_scores(calibration_), kZScoreTolerance);
    const HeadCalibration any = head_calibration(calibration_, 0.0);
    check("phi", {any.phi.begin(), any.phi.end()}, kStatisticTolerance);
    check_drafters();
    check_orders();
    for (const auto& run : golden_.config.at("runs")) {
      if (run.at("params").contains("alpha")) check_classes(run.at("params").at("alpha"));
    }
  }

 private:
  // Where the reference has a value.
  void check(const std::string& name, const std::vector<double>& got, double tolerance) {
    const std::vector<float> want = read_values<float>(file_, name);
    ASSERT_EQ(got.size(), want.size()) << name;
    for (size_t at = 0; at < got.size(); ++at) {
      if (std::isnan(want[at])) continue;
      EXPECT_NEAR(got[at], want[at], tolerance) << name << " " << at;
    }
  }

  // [layers, steps] there, [steps, layers] here.
  void check_drafters() {
    const std::vector<uint8_t> want = read_values<uint8_t>(file_, "drafter");
    const std::vector<uint8_t> got =
        scalekv_drafters(calibration_, golden_.config.at("n_drafter").get<int64_t>());
    const size_t steps = calibration_.scales.size();
    for (size_t at = 0; at < want.size(); ++at) {
      const size_t there = at % steps * static_cast<size_t>(calibration_.layers) + at / steps;
      EXPECT_EQ(got[there], want[at]) << "drafter " << at;
    }
  }

  void check_orders() {
    const int sink = golden_.config.at("heat_sink");
    std::vector<int32_t> got;
    for (const auto& order : heat_orders(calibration_, sink)) {
      for (const LayerHead& at : order) {
        got.push_back(static_cast<int32_t>(at.head));
        got.push_back(static_cast<int32_t>(at.layer));
      }
    }
    EXPECT_EQ(got, read_values<int32_t>(file_, "scas_orders"));
  }

  void check_classes(double alpha) {
    const HeadCalibration got = head_calibration(calibration_, alpha);
    std::vector<uint8_t> contextual;
    for (const HeadClass type : got.classes) {
      contextual.push_back(type == HeadClass::kContextual ? 1 : 0);
    }
    const std::string suffix = fmt::format("alpha{:g}", alpha);
    EXPECT_EQ(contextual, read_values<uint8_t>(file_, "contextual." + suffix)) << suffix;
    check("gbar." + suffix, got.reliance, kStatisticTolerance);
  }

  GoldenCase golden_;
  SafetensorsFile file_;
  Calibration calibration_;
};

}  // namespace

void register_cases() {
  register_calibration_cases();
  for (const GoldenCase& golden : find_cases("methods")) {
    const auto suite = "methods/" + golden.name();
    for (const auto& run : golden.config.at("runs")) {
      testing::RegisterTest(
          suite.c_str(), run.at("name").get<std::string>().c_str(), nullptr, nullptr, __FILE__,
          __LINE__, [golden, run]() -> testing::Test* { return new MethodTest(golden, run); });
    }
    testing::RegisterTest(suite.c_str(), "calibration", nullptr, nullptr, __FILE__, __LINE__,
                          [golden]() -> testing::Test* { return new CalibrationTest(golden); });
  }
}

}  // namespace nextscale::golden
