// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "tests/kernels/kernel_test.h"

namespace nextscale::kernels {
namespace {

struct AttentionCase {
  int64_t rows = 1;
  int64_t query_heads = 1;
  int64_t kv_heads = 1;
  int64_t queries = 1;
  int64_t head_dim = 64;
  int64_t cached = 0;
  int64_t current = 1;
};

constexpr AttentionCase kCases[] = {
    {1, 1, 1, 1, 8, 0, 1},     {2, 8, 1, 7, 16, 5, 3},     {1, 2, 2, 49, 64, 300, 49},
    {1, 4, 2, 6, 128, 255, 2}, {1, 1, 1, 97, 640, 0, 97},  {1, 1, 1, 3, 1024, 10, 260},
    {2, 2, 1, 13, 24, 63, 1},  {1, 1, 1, 103, 72, 511, 2}, {1, 16, 2, 9, 128, 64, 64},
};

std::string describe(const AttentionCase& size) {
  return fmt::format("{} rows, {}:{} heads, {} queries, head size {}, {} + {} keys", size.rows,
                     size.query_heads, size.kv_heads, size.queries, size.head_dim, size.cached,
                     size.current);
}

// Element types of keys and values.
struct KvDtypes {
  DType cached = DType::kF32;
  DType current = DType::kF32;
};

Tolerance tolerance_of(const KvDtypes& dtypes, DType out, double highest_score) {
  return dtypes.current == DType::kBF16 ? bf16_attention_tolerance(highest_score)
                                        : attention_tolerance(out, highest_score);
}

constexpr KvDtypes kDtypes[] = {{DType::kF32, DType::kF32},
                                {DType::kBF16, DType::kBF16},
                                {DType::kI8, DType::kF32},
                                {DType::kI8, DType::kBF16}};

std::string describe(const AttentionCase& size, const KvDtypes& dtypes) {
  return fmt::format("{}, {} and {}", describe(size), dtype_name(dtypes.cached),
                     dtype_name(dtypes.current));
}

// All tokens of all heads in one element type.
class Tokens {
 public:
  // [heads, tokens, head_dim]
  Tokens(const Shape& shape, DType dtype)
      : k_(random_tensor(dtype, shape, 2)),
        v_(random_tensor(dtype, shape, 3)),
        k_factors_(random_tensor(DType::kF32, {shape[0], shape[1]}, 4, kFactor)),
        v_factors_(random_tensor(DType::kF32, {shape[0], shape[1]}, 5, kFactor)) {}

  KvSegment segment(int64_t head, int64_t first, int64_t tokens) const {
    const int64_t token = head * k_.shape()[1] + first;
    const size_t at = static_cast<size_t>(token * k_.shape()[2]) * dtype_bytes(k_.dtype());
    KvSegment result{.k = k_.as<std::byte>() + at,
                     .v = v_.as<std::byte>() + at,
                     .tokens = tokens,
                     .dtype = k_.dtype()};
    if (k_.dtype() == DType::kI8) {
      result.k_factors = k_factors_.as<float>() + token;
      result.v_factors = v_factors_.as<float>() + token;
    }
    return result;
  }

 private:
  static constexpr float kFactor = 1.0F / 127;  // values are below 1 in every type

  Tensor k_;
  Tensor v_;
  Tensor k_factors_;  // [heads, tokens]
  Tensor v_factors_;
};

// Tensors of one call. Every head has its own keys and, if wanted, its own list of positions.
class Problem {
 public:
  Problem(const AttentionCase& size, DType dtype) : Problem(size, {dtype, dtype}) {}
  Problem(const AttentionCase& size, const KvDtypes& dtypes)
      : size_(size),
        q_(random_tensor(DType::kF32, {size.rows, size.query_heads, size.queries, size.head_dim},
                         1)),
        cached_({heads(), num_tokens(), size.head_dim}, dtypes.cached),
        current_({heads(), num_tokens(), size.head_dim}, dtypes.current) {
    split_at(size.cached);
  }

  int64_t heads() const { return size_.rows * size_.kv_heads; }
  int64_t num_tokens() const { return size_.cached + size_.current; }

  // Makes the first `cached` tokens the cache.
  void split_at(int64_t cached) {
    segments_.clear();
    for (int64_t head = 0; head < heads(); ++head) {
      segments_.push_back({.cached = cached_.segment(head, 0, cached),
                           .current = current_.segment(head, cached, num_tokens() - cached)});
    }
  }

  // Head h attends about every (h + 2)nd position, so lists differ in length.
  void attend_some() {
    lists_.assign(static_cast<size_t>(heads()), {});
    for (int64_t head = 0; head < heads(); ++head) {
      auto& list = lists_[static_cast<size_t>(head)];
      for (int64_t token = head % 2; token < num_tokens(); token += head + 2) {
        list.push_back(static_cast<int32_t>(token));
      }
      if (list.empty()) list.push_back(0);
    }
    use_lists();
  }

  void attend_all_by_list() {
    lists_.assign(static_cast<size_t>(heads()),
                  std::vector<int32_t>(static_cast<size_t>(num_tokens())));
    for (auto& list : lists_) std::iota(list.begin(), list.end(), 0);
    use_lists();
  }

  // Every head has a bias of its own for each key that it attends.
  void add_bias() {
    biases_.clear();
    for (size_t head = 0; head < segments_.size(); ++head) {
      const int64_t keys = segments_[head].num_keys();
      biases_.push_back(random_tensor(DType::kF32, {keys}, 6 + static_cast<uint64_t>(head), 3.0F));
      segments_[head].bias = biases_.back().as<float>();
    }
  }

  // Queries [first, first + count) of the problem's.
  Tensor run(const KernelTable& table, Context ctx, DType out_dtype, int64_t first, int64_t count) {
    Tensor q(DType::kF32, {size_.rows, size_.query_heads, count, size_.head_dim});
    const int64_t block = count * size_.head_dim;
    for (int64_t head = 0; head < size_.rows * size_.query_heads; ++head) {
      const float* from = q_.as<float>() + (head * size_.queries + first) * size_.head_dim;
      std::copy_n(from, block, q.as<float>() + head * block);
    }
    Tensor out(out_dtype, {size_.rows, count, size_.query_heads * size_.head_dim});
    AttentionArgs args{.rows = size_.rows, .query_heads = size_.query_heads};
    args.kv_heads = size_.kv_heads;
    args.queries = count;
    args.head_dim = size_.head_dim;
    args.softmax_scale = softmax_scale;
    args.q = q.as<float>();
    args.heads = segments_;
    args.out = out.view().data;
    args.out_dtype = out_dtype;
    // An arena of just the promised size: taking more aborts.
    Arena scratch(table.attention_scratch(ctx, args, num_tokens()), "attention test");
    ctx.scratch = &scratch;
    table.attention(ctx, args);
    return out;
  }

  Tensor run(const KernelTable& table, const Context& ctx, DType out_dtype = DType::kF32) {
    return run(table, ctx, out_dtype, 0, size_.queries);
  }

  // With one list and one bias for all heads.
  Tensor run_with(std::vector<int32_t> list, const std::vector<float>& bias,
                  const KernelTable& table, const Context& ctx) {
    lists_.assign(static_cast<size_t>(heads()), std::move(list));
    use_lists();
    for (AttentionHead& head : segments_) head.bias = bias.empty() ? nullptr : bias.data();
    return run(table, ctx);
  }

  float softmax_scale = 0.5F;

  // A dot product of random vectors is about the square root of their length.
  double highest_score() const {
    return softmax_scale * std::sqrt(static_cast<double>(size_.head_dim));
  }

 private:
  void use_lists() {
    for (size_t head = 0; head < lists_.size(); ++head) {
      segments_[head].attend = lists_[head].data();
      segments_[head].num_attend = static_cast<int64_t>(lists_[head].size());
    }
  }

  AttentionCase size_;
  Tensor q_;  // [rows, query_heads, queries, head_dim]
  Tokens cached_;
  Tokens current_;
  std::vector<AttentionHead> segments_;
  std::vector<std::vector<int32_t>> lists_;
  std::vector<Tensor> biases_;
};

class AttentionTest : public KernelTest {};

TEST_F(AttentionTest, MatchesRef) {
  for_each_instruction_set([&] {
    for (const AttentionCase& size : kCases) {
      for (const KvDtypes& dtypes : kDtypes) {
        SCOPED_TRACE(describe(size, dtypes));
        Problem problem(size, dtypes);
        const DType out = dtypes.current;
        EXPECT_TRUE(is_close(problem.run(cpu_table(), context(), out),
                             problem.run(ref_table(), context(), out),
                             tolerance_of(dtypes, out, problem.highest_score())));
      }
    }
  });
}

TEST_F(AttentionTest, MatchesRefWithABias) {
  for_each_instruction_set([&] {
    for (const AttentionCase& size : kCases) {
      SCOPED_TRACE(describe(size));
      Problem problem(size, DType::kF32);
      problem.attend_some();
      problem.add_bias();
      EXPECT_TRUE(is_close(problem.run(cpu_table(), context()), problem.run(ref_table(), context()),
                           attention_tolerance(DType::kF32, problem.highest_score() + 3.0)));
    }
  });
}

// What a bias means: log(2) counts a key twice.
TEST_F(AttentionTest, AKeyWithABiasStandsForSeveral) {
  const AttentionCase size{.queries = 5, .head_dim = 16, .cached = 3, .current = 2};
  for (const KernelTable* table : {&ref_table(), &cpu_table()}) {
    Problem problem(size, DType::kF32);
    const Tensor biased =
        problem.run_with({0, 1, 4}, {0.0F, std::log(2.0F), 0.0F}, *table, context());
    const Tensor twice = problem.run_with({0, 1, 1, 4}, {}, *table, context());
    EXPECT_TRUE(is_close(biased, twice, attention_tolerance(DType::kF32, problem.highest_score())));
  }
}

TEST_F(AttentionTest, MatchesRefOnListsOfDifferentLengths) {
  for_each_instruction_set([&] {
    for (const AttentionCase& size : kCases) {
      for (const KvDtypes& dtypes : kDtypes) {
        SCOPED_TRACE(describe(size, dtypes));
        Problem problem(size, dtypes);
        problem.attend_some();
        EXPECT_TRUE(is_close(problem.run(cpu_table(), context()),
                             problem.run(ref_table(), context()),
                             tolerance_of(dtypes, DType::kF32, problem.highest_score())));
      }
    }
  });
}

TEST_F(AttentionTest, DoesNotDependOnThreads) {
  for (const AttentionCase& size : kCases) {
    SCOPED_TRACE(describe(size));
    Problem problem(size, DType::kF32);
    const Tensor one = problem.run(cpu_table(), context(1));
    EXPECT_TRUE(same_bits(problem.run(cpu_table(), context(2)), one));
    EXPECT_TRUE(same_bits(problem.run(cpu_table(), context(7)), one));
  }
}

TEST_F(AttentionTest, AQueryDoesNotDependOnTheOthers) {
  const AttentionCase size{1, 1, 1, 103, 72, 511, 2};
  Problem problem(size, DType::kF32);
  const Tensor whole = problem.run(cpu_table(), context());
  for (const int64_t count : {1, 5, 6, 49}) {
    const Tensor part = problem.run(cpu_table(), context(), DType::kF32, 50, count);
    EXPECT_TRUE(
        same_bits(part.as<float>(), whole.as<float>() + 50 * size.head_dim, part.num_bytes()))
        << count << " queries";
  }
}

TEST_F(AttentionTest, DoesNotDependOnWhereTheCacheEnds) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
    const AttentionCase size{2, 4, 2, 13, 64, 300, 49};
    Problem problem(size, dtype);
    const Tensor reference = problem.run(cpu_table(), context());
    for (const int64_t cached : {0, 1, 63, 256, 257, 349}) {
      problem.split_at(cached);
      EXPECT_TRUE(same_bits(problem.run(cpu_table(), context()), reference)) << cached;
    }
  }
}

TEST_F(AttentionTest, AListOfAllPositionsChangesNothing) {
  for (const AttentionCase& size : kCases) {
    SCOPED_TRACE(describe(size));
    Problem problem(size, DType::kF32);
    const Tensor reference = problem.run(cpu_table(), context());
    problem.attend_all_by_list();
    EXPECT_TRUE(same_bits(problem.run(cpu_table(), context()), reference));
  }
}

TEST_F(AttentionTest, LargeScoresDoNotOverflow) {
  for_each_instruction_set([&] {
    const AttentionCase size{1, 2, 2, 11, 64, 500, 11};
    Problem problem(size, DType::kF32);
    problem.softmax_scale = 100.0F;
    EXPECT_TRUE(is_close(problem.run(cpu_table(), context()), problem.run(ref_table(), context()),
                         attention_tolerance(DType::kF32, problem.highest_score())));
  });
}

}  // namespace
}  // namespace nextscale::kernels
