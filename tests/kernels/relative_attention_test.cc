// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include "tests/kernels/kernel_test.h"

namespace nextscale::kernels {
namespace {

struct RelativeCase {
  std::vector<int64_t> starts;
  int64_t heads;
  int64_t head_dim;
};

// Lengths around the tiles of six queries and the panels of 64 keys; wide heads span two panels.
const RelativeCase kCases[] = {{{0, 1}, 1, 8},
                               {{0, 5, 6, 18}, 3, 8},
                               {{0, 63, 127, 192}, 2, 64},
                               {{0, 200}, 6, 72},
                               {{0, 130, 137}, 1, 128}};
constexpr int64_t kReach = 255;
// q k^T + bias of values in [-1, 1] is at most the head size + 1.
double highest_score(const RelativeCase& size) { return static_cast<double>(size.head_dim + 1); }

class RelativeAttentionTest : public KernelTest {
 protected:
  static Tensor features(const RelativeCase& size, uint64_t seed) {
    return random_tensor(DType::kF32, {size.starts.back(), size.heads, size.head_dim}, seed);
  }

  static Tensor run(const KernelTable& table, const Context& ctx, const RelativeCase& size,
                    DType out_dtype) {
    const Tensor q = features(size, 1);
    const Tensor k = features(size, 2);
    const Tensor v = features(size, 3);
    const Tensor bias = random_tensor(DType::kF32, {size.heads, 2 * kReach + 1}, 4);
    Tensor out(out_dtype, q.shape());
    RelativeAttentionArgs args{.starts = size.starts,
                               .heads = size.heads,
                               .head_dim = size.head_dim,
                               .q = q.as<float>(),
                               .k = k.as<float>(),
                               .v = v.as<float>()};
    args.bias = bias.as<float>();
    args.reach = kReach;
    args.out = out.view().data;
    args.out_dtype = out_dtype;
    table.relative_attention(ctx, args);
    return out;
  }
};

TEST_F(RelativeAttentionTest, MatchesRef) {
  for_each_instruction_set([&] {
    for (const RelativeCase& size : kCases) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        SCOPED_TRACE(size.starts.back());
        EXPECT_TRUE(is_close(run(cpu_table(), context(), size, dtype),
                             run(ref_table(), context(), size, dtype),
                             attention_tolerance(dtype, highest_score(size))));
      }
    }
  });
}

TEST_F(RelativeAttentionTest, DoesNotDependOnThreads) {
  for (const RelativeCase& size : kCases) {
    EXPECT_TRUE(same_bits(run(cpu_table(), context(1), size, DType::kF32),
                          run(cpu_table(), context(2), size, DType::kF32)));
  }
}

TEST_F(RelativeAttentionTest, ASequenceDoesNotDependOnTheOthers) {
  const RelativeCase together{{0, 130, 137}, 2, 64};
  const RelativeCase alone{{0, 130}, 2, 64};
  const Tensor both = run(cpu_table(), context(), together, DType::kF32);
  const Tensor first = run(cpu_table(), context(), alone, DType::kF32);
  EXPECT_TRUE(same_bits(view_of(both).data, view_of(first).data, first.num_bytes()));
}

TEST_F(RelativeAttentionTest, TakesTheScratchThatItAnnounces) {
  for (const KernelTable* table : {&ref_table(), &cpu_table()}) {
    const RelativeCase size{{0, 130, 137}, 2, 72};
    RelativeAttentionArgs shape;
    shape.head_dim = size.head_dim;
    Context ctx = context();
    Arena exact(table->relative_attention_scratch(ctx, shape, 130), "this test");
    ctx.scratch = &exact;
    run(*table, ctx, size, DType::kF32);
    EXPECT_EQ(exact.high_water_bytes(), exact.capacity_bytes());
  }
}

}  // namespace
}  // namespace nextscale::kernels
