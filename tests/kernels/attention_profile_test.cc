// SPDX-License-Identifier: Apache-2.0
#include <numeric>
#include <vector>

#include "tests/kernels/kernel_test.h"

namespace nextscale::kernels {
namespace {

struct ProfileCase {
  int64_t rows = 1;
  int64_t query_heads = 1;
  int64_t kv_heads = 1;
  int64_t head_dim = 64;
  std::vector<int64_t> scales;  // tokens of each; the last is the current one
  int64_t num_top = 4;
};

const std::vector<ProfileCase>& cases() {
  static const std::vector<ProfileCase> kCases = {
      {1, 1, 1, 8, {1}, 4},
      {2, 3, 3, 16, {1, 4, 9}, 4},
      {2, 4, 2, 64, {1, 6, 15, 28, 54}, 32},
      {1, 2, 2, 64, {1, 4, 9, 16, 25, 36, 64, 100, 169, 256}, 1},
      {1, 2, 1, 128, {63, 300, 25}, 256},
      {1, 1, 1, 72, {1, 1, 511, 49}, 16},
  };
  return kCases;
}

// What one call says, one vector after the other.
struct Profile {
  std::vector<double> mass;
  std::vector<double> top;
  std::vector<double> variance;

  bool operator==(const Profile&) const = default;
};

class Problem {
 public:
  Problem(ProfileCase size, DType kv_dtype) : size_(std::move(size)), ends_(size_.scales.size()) {
    std::partial_sum(size_.scales.begin(), size_.scales.end(), ends_.begin());
    q_ = random_tensor(DType::kF32, {size_.rows, size_.query_heads, queries(), size_.head_dim}, 1);
    k_ = random_tensor(kv_dtype, {size_.rows * size_.kv_heads, keys(), size_.head_dim}, 2);
    const size_t token_bytes = static_cast<size_t>(size_.head_dim) * dtype_bytes(kv_dtype);
    const int64_t cached = keys() - queries();
    for (int64_t head = 0; head < size_.rows * size_.kv_heads; ++head) {
      const auto* first = k_.as<std::byte>() + static_cast<size_t>(head * keys()) * token_bytes;
      heads_.push_back({.cached = {.k = first, .tokens = cached, .dtype = kv_dtype},
                        .current = {.k = first + static_cast<size_t>(cached) * token_bytes,
                                    .tokens = queries(),
                                    .dtype = kv_dtype}});
    }
  }

  Profile run(const KernelTable& table, Context ctx) const {
    AttentionArgs attention{.rows = size_.rows, .query_heads = size_.query_heads};
    attention.kv_heads = size_.kv_heads;
    attention.queries = queries();
    attention.head_dim = size_.head_dim;
    attention.softmax_scale = kSoftmaxScale;
    attention.q = q_.as<float>();
    attention.heads = heads_;
    const auto lists = static_cast<size_t>(size_.rows * size_.query_heads);
    Profile result{.mass = std::vector<double>(lists * ends_.size()),
                   .top = std::vector<double>(lists),
                   .variance = std::vector<double>(lists)};
    // An arena of just the promised size: taking more aborts.
    Arena scratch(table.attention_profile_scratch(ctx, attention, keys()), "profile test");
    ctx.scratch = &scratch;
    table.attention_profile(ctx, {.attention = &attention,
                                  .scale_ends = ends_,
                                  .num_top = size_.num_top,
                                  .mass = result.mass.data(),
                                  .top = result.top.data(),
                                  .variance = result.variance.data()});
    return result;
  }

  // A dot product of random vectors is about the square root of their length.
  double highest_score() const {
    return static_cast<double>(kSoftmaxScale) * std::sqrt(static_cast<double>(size_.head_dim));
  }

 private:
  static constexpr float kSoftmaxScale = 0.7F;

  int64_t queries() const { return size_.scales.back(); }
  int64_t keys() const { return ends_.back(); }

  ProfileCase size_;
  std::vector<int64_t> ends_;
  Tensor q_;
  Tensor k_;
  std::vector<AttentionHead> heads_;
};

void expect_close(const std::vector<double>& got, const std::vector<double>& want,
                  const Tolerance& tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t at = 0; at < got.size(); ++at) {
    EXPECT_NEAR(got[at], want[at], tolerance.absolute + tolerance.relative * std::abs(want[at]))
        << at;
  }
}

class AttentionProfileTest : public KernelTest {};

TEST_F(AttentionProfileTest, MatchesRef) {
  for_each_instruction_set([&] {
    for (const ProfileCase& size : cases()) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        SCOPED_TRACE(fmt::format("{} scales, head size {}", size.scales.size(), size.head_dim));
        const Problem problem(size, dtype);
        const Profile got = problem.run(cpu_table(), context());
        const Profile want = problem.run(ref_table(), context());
        const Tolerance tolerance = profile_tolerance(problem.highest_score());
        expect_close(got.mass, want.mass, tolerance);
        expect_close(got.top, want.top, tolerance);
        expect_close(got.variance, want.variance, tolerance);
      }
    }
  });
}

TEST_F(AttentionProfileTest, MassesOfAHeadAddUpToOne) {
  const size_t num_scales = cases()[2].scales.size();
  const Profile got = Problem(cases()[2], DType::kF32).run(cpu_table(), context());
  for (auto first = got.mass.begin(); first != got.mass.end(); first += num_scales) {
    EXPECT_NEAR(std::accumulate(first, first + num_scales, 0.0), 1.0, 1e-12);
  }
}

TEST_F(AttentionProfileTest, DoesNotDependOnThreads) {
  for (const ProfileCase& size : cases()) {
    const Problem problem(size, DType::kF32);
    const Profile one = problem.run(cpu_table(), context(1));
    EXPECT_EQ(problem.run(cpu_table(), context(2)), one);
    EXPECT_EQ(problem.run(cpu_table(), context(7)), one);
  }
}

}  // namespace
}  // namespace nextscale::kernels
