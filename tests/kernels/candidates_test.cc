// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <numeric>
#include <vector>

#include "tests/kernels/kernel_test.h"

namespace nextscale::kernels {
namespace {

struct CandidatesCase {
  int64_t group = 1;
  int64_t queries = 1;
  int64_t observed = 1;
  int64_t head_dim = 64;
  int64_t cached = 0;
  int64_t current = 1;
  DType cached_dtype = DType::kF32;
};

constexpr CandidatesCase kCases[] = {
    {1, 1, 1, 8, 0, 1},
    {1, 9, 4, 64, 5, 9},
    {1, 49, 32, 64, 300, 49, DType::kBF16},
    {4, 40, 32, 128, 67, 40, DType::kI8},
    {2, 100, 100, 72, 131, 100, DType::kI8},
    {1, 200, 130, 16, 0, 200, DType::kBF16},
    {1, 7, 7, 640, 3, 7},
};

constexpr float kSoftmaxScale = 0.5F;

std::string describe(const CandidatesCase& size) {
  return fmt::format("{} of {} queries in {} heads of {}, {} cached {} and {} current keys",
                     size.observed, size.queries, size.group, size.head_dim,
                     dtype_name(size.cached_dtype), size.cached, size.current);
}

// Which statistics are computed; the names say what is left out.
enum class Wanted { kAll, kSums, kLogitSums };

struct Statistics {
  std::vector<float> sums;
  std::vector<float> variances;
  std::vector<float> entropies;
};

// One head's queries and candidates.
class Problem {
 public:
  explicit Problem(const CandidatesCase& size)
      : size_(size),
        q_(random_tensor(DType::kF32, {size.group, size.queries, size.head_dim}, 1)),
        cached_(random_cached(size)),
        current_(random_tensor(current_dtype(size), {size.current, size.head_dim}, 3)),
        factors_(random_tensor(DType::kF32, {size.cached}, 4, 0.01F)) {
    for (int64_t index = 0; index < size.observed; ++index) {
      observed_.push_back(static_cast<int32_t>(index * size.queries / size.observed));
    }
  }

  KvSegment cached() const {
    KvSegment segment{.k = view_of(cached_).data, .v = view_of(cached_).data};
    segment.tokens = size_.cached;
    segment.dtype = size_.cached_dtype;
    if (segment.dtype != DType::kI8) return segment;
    segment.k_factors = factors_.as<float>();
    segment.v_factors = factors_.as<float>();
    return segment;
  }
  KvSegment current() const {
    KvSegment segment{.k = view_of(current_).data, .v = view_of(current_).data};
    segment.tokens = size_.current;
    segment.dtype = current_dtype(size_);
    return segment;
  }

  Statistics run(const KernelTable& table, Wanted wanted) const {
    const auto candidates = static_cast<size_t>(size_.cached + size_.current);
    Statistics result{.sums = std::vector<float>(candidates), .variances = {}, .entropies = {}};
    if (wanted == Wanted::kAll) {
      result.variances.resize(candidates);
      result.entropies.resize(candidates);
    }
    const size_t bytes = table.column_statistics_workspace(static_cast<int64_t>(candidates),
                                                           size_.observed, size_.head_dim);
    Arena workspace(Arena::rounded(bytes), "statistics test");
    ColumnStatisticsArgs args{.q = q_.as<float>(), .group = size_.group};
    args.queries = size_.queries;
    args.observed = observed_;
    args.head_dim = size_.head_dim;
    args.softmax_scale = kSoftmaxScale;
    args.softmax = wanted != Wanted::kLogitSums;
    args.cached = cached();
    args.current = current();
    args.sums = result.sums.data();
    args.variances = wanted == Wanted::kAll ? result.variances.data() : nullptr;
    args.entropies = wanted == Wanted::kAll ? result.entropies.data() : nullptr;
    args.workspace = workspace.take<std::byte>(bytes);
    table.column_statistics(args);
    return result;
  }

 private:
  static DType current_dtype(const CandidatesCase& size) {
    return size.cached_dtype == DType::kF32 ? DType::kF32 : DType::kBF16;
  }
  static Tensor random_cached(const CandidatesCase& size) {
    if (size.cached_dtype != DType::kI8) {
      return random_tensor(size.cached_dtype, {size.cached, size.head_dim}, 2);
    }
    Tensor result(DType::kI8, {size.cached, size.head_dim});
    for (int64_t index = 0; index < size.cached * size.head_dim; ++index) {
      result.as<int8_t>()[index] = static_cast<int8_t>(index * 37 % 255 - 127);
    }
    return result;
  }

  CandidatesCase size_;
  Tensor q_;  // [group, queries, head_dim]
  Tensor cached_;
  Tensor current_;
  Tensor factors_;  // [cached]
  std::vector<int32_t> observed_;
};

void expect_close(const std::vector<float>& actual, const std::vector<float>& expected,
                  const Tolerance& tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t at = 0; at < actual.size(); ++at) {
    const auto wanted = static_cast<double>(expected[at]);
    EXPECT_NEAR(actual[at], wanted, tolerance.absolute + tolerance.relative * std::fabs(wanted))
        << at;
  }
}

class CandidatesTest : public KernelTest {};

TEST_F(CandidatesTest, StatisticsMatchRef) {
  for_each_instruction_set([&] {
    for (const CandidatesCase& size : kCases) {
      SCOPED_TRACE(describe(size));
      const Problem problem(size);
      const Tolerance tolerance =
          statistics_tolerance(kSoftmaxScale * std::sqrt(static_cast<double>(size.head_dim)));
      for (const Wanted wanted : {Wanted::kAll, Wanted::kSums}) {
        const Statistics fast = problem.run(cpu_table(), wanted);
        const Statistics plain = problem.run(ref_table(), wanted);
        expect_close(fast.sums, plain.sums, tolerance);
        expect_close(fast.variances, plain.variances, tolerance);
        expect_close(fast.entropies, plain.entropies, tolerance);
      }
    }
  });
}

TEST_F(CandidatesTest, SumsOfLogitsMatchRef) {
  for_each_instruction_set([&] {
    for (const CandidatesCase& size : kCases) {
      SCOPED_TRACE(describe(size));
      const Problem problem(size);
      expect_close(problem.run(cpu_table(), Wanted::kLogitSums).sums,
                   problem.run(ref_table(), Wanted::kLogitSums).sums,
                   product_tolerance(DType::kF32, size.observed * size.head_dim));
    }
  });
}

TEST_F(CandidatesTest, EachQuerySharesOneOut) {
  const CandidatesCase size{2, 100, 100, 64, 131, 100};
  const Statistics statistics = Problem(size).run(cpu_table(), Wanted::kSums);
  const double sum = std::accumulate(statistics.sums.begin(), statistics.sums.end(), 0.0);
  EXPECT_NEAR(sum, 100.0, 1e-3);
}

TEST_F(CandidatesTest, LengthsOfValuesMatchRef) {
  for_each_instruction_set([&] {
    for (const CandidatesCase& size : kCases) {
      SCOPED_TRACE(describe(size));
      const Problem problem(size);
      for (const KvSegment& segment : {problem.cached(), problem.current()}) {
        std::vector<float> fast(static_cast<size_t>(segment.tokens));
        std::vector<float> plain(fast.size());
        cpu_table().value_lengths(segment, size.head_dim, fast.data());
        ref_table().value_lengths(segment, size.head_dim, plain.data());
        expect_close(fast, plain, {0.0, kF32Relative});
      }
    }
  });
}

class NearestTest : public KernelTest {
 protected:
  struct Result {
    std::vector<int32_t> nearest;
    std::vector<float> products;
  };

  static Result run(const KernelTable& table, const Tensor& x, const Tensor& targets) {
    Result result;
    result.nearest.resize(static_cast<size_t>(x.shape()[0]));
    result.products.resize(result.nearest.size());
    const size_t bytes = table.nearest_workspace(x.shape()[1]);
    Arena workspace(Arena::rounded(bytes), "nearest test");
    table.nearest({.x = x.as<float>(),
                   .count = x.shape()[0],
                   .targets = targets.as<float>(),
                   .num_targets = targets.shape()[0],
                   .width = x.shape()[1],
                   .nearest = result.nearest.data(),
                   .products = result.products.data(),
                   .workspace = workspace.take<std::byte>(bytes)});
    return result;
  }
};

TEST_F(NearestTest, MatchesRef) {
  for_each_instruction_set([&] {
    for (const int64_t count : {1, 63, 64, 130}) {
      for (const int64_t num_targets : {1, 5, 97}) {
        const Tensor x = random_tensor(DType::kF32, {count, 72}, 1);
        const Tensor targets = random_tensor(DType::kF32, {num_targets, 72}, 2);
        const Result fast = run(cpu_table(), x, targets);
        const Result plain = run(ref_table(), x, targets);
        EXPECT_EQ(fast.nearest, plain.nearest);
        expect_close(fast.products, plain.products, product_tolerance(DType::kF32, 72));
      }
    }
  });
}

TEST_F(NearestTest, TakesTheFirstOfEqualTargets) {
  const Tensor x = random_tensor(DType::kF32, {70, 64}, 1);
  Tensor targets(DType::kF32, {20, 64});
  for (int64_t target = 0; target < 20; ++target) {
    std::copy_n(x.as<float>(), 64, targets.as<float>() + target * 64);
  }
  for_each_instruction_set([&] {
    for (const int32_t nearest : run(cpu_table(), x, targets).nearest) EXPECT_EQ(nearest, 0);
  });
}

}  // namespace
}  // namespace nextscale::kernels
