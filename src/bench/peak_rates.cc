// SPDX-License-Identifier: Apache-2.0
#include "bench/peak_rates.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/parallel.h"
#include "core/stage_times.h"
#include "core/tensor.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/peak_rates.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace nextscale {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Enough chains that each instruction's latency is hidden, few enough for the registers.
constexpr size_t kChains = HWY_MAX_BYTES >= 64 ? 24 : 12;

// `rounds` steps of every chain; returns operations. What is left in the sums goes to `sink`, so
// that nothing is optimised away.
template <size_t... kIndex, class Step>
HWY_INLINE double run_chains(std::index_sequence<kIndex...> /*chains*/, int64_t rounds,
                             int64_t operations_per_lane, float* sink, const Step& step) {
  const hn::ScalableTag<float> d;
  hn::VFromD<decltype(d)> sums[kChains];
  for (auto& sum : sums) sum = hn::Set(d, 1.0F);
  const auto left = hn::Set(d, *sink);
  const auto right = hn::Set(d, *sink);
  for (int64_t round = 0; round < rounds; ++round) {
    ((sums[kIndex] = step(left, right, sums[kIndex])), ...);
  }
  auto total = hn::Zero(d);
  for (const auto& sum : sums) total = hn::Add(total, sum);
  *sink = hn::GetLane(hn::SumOfLanes(d, total));
  return static_cast<double>(rounds * int64_t{kChains} * operations_per_lane) *
         static_cast<double>(hn::Lanes(d));
}

double multiply_add(int64_t rounds, float* sink) {
  return run_chains(std::make_index_sequence<kChains>(), rounds, 2, sink,
                    [](auto left, auto right, auto sum)
                        HWY_ATTR { return hn::MulAdd(left, right, sum); });
}

double dot_bf16([[maybe_unused]] int64_t rounds, [[maybe_unused]] float* sink) {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
  return run_chains(std::make_index_sequence<kChains>(), rounds, 4, sink,
                    [](auto left, auto right, auto sum) HWY_ATTR {
                      asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(left.raw), "v"(right.raw));
                      return sum;
                    });
#else
  return 0.0;
#endif
}

double dot_i8([[maybe_unused]] int64_t rounds, [[maybe_unused]] float* sink) {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
  return run_chains(std::make_index_sequence<kChains>(), rounds, 8, sink,
                    [](auto left, auto right, auto sum) HWY_ATTR {
                      asm("vpdpbusd %2, %1, %0" : "+v"(sum.raw) : "v"(left.raw), "v"(right.raw));
                      return sum;
                    });
#else
  return 0.0;
#endif
}

double sum_of(const float* values, int64_t count) {
  const hn::ScalableTag<float> d;
  constexpr int64_t kSums = 8;
  hn::VFromD<decltype(d)> sums[kSums];
  for (auto& sum : sums) sum = hn::Zero(d);
  const auto width = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t at = 0; at + kSums * width <= count; at += kSums * width) {
    for (int64_t part = 0; part < kSums; ++part) {
      sums[part] = hn::Add(sums[part], hn::LoadU(d, values + at + part * width));
    }
  }
  auto total = hn::Zero(d);
  for (const auto& sum : sums) total = hn::Add(total, sum);
  return static_cast<double>(hn::GetLane(hn::SumOfLanes(d, total)));
}

}  // namespace HWY_NAMESPACE
}  // namespace nextscale
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nextscale {
namespace {

HWY_EXPORT(multiply_add);
HWY_EXPORT(dot_bf16);
HWY_EXPORT(dot_i8);
HWY_EXPORT(sum_of);

constexpr int64_t kRounds = 20000;  // about a tenth of a millisecond

// The best rate of several goes at once on all threads: what disturbs one is not the machine's.
template <class Work>
double best_rate(int threads, double seconds, const Work& work) {
  std::vector<double> amounts(static_cast<size_t>(threads));
  double best = 0;
  const double start = wall_seconds();
  do {
    const double began = wall_seconds();
    parallel_for(threads, threads,
                 [&](int64_t index, int) { amounts[static_cast<size_t>(index)] = work(index); });
    double amount = 0;
    for (const double each : amounts) amount += each;
    best = std::max(best, amount / (wall_seconds() - began));
  } while (wall_seconds() - start < seconds);
  return best;
}

}  // namespace

PeakRates measure_peak_rates(int threads, double seconds) {
  constexpr int kBatches = 50;
  const auto rate = [&](double (*chains)(int64_t, float*)) {
    return best_rate(threads, seconds, [&](int64_t) {
      float sink = 0;
      double operations = 0;
      for (int batch = 0; batch < kBatches; ++batch) {
        sink = 0;
        operations += chains(kRounds, &sink);
      }
      return operations;
    });
  };
  PeakRates rates;
  rates.f32 = rate([](int64_t n, float* s) { return HWY_DYNAMIC_DISPATCH(multiply_add)(n, s); });
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512bf16") != 0) {
    rates.bf16 = rate([](int64_t n, float* s) { return HWY_DYNAMIC_DISPATCH(dot_bf16)(n, s); });
  }
  if (__builtin_cpu_supports("avx512vnni") != 0) {
    rates.i8 = rate([](int64_t n, float* s) { return HWY_DYNAMIC_DISPATCH(dot_i8)(n, s); });
  }
#endif
  return rates;
}

double measure_read_bandwidth(int threads, double seconds) {
  constexpr int64_t kFloats = int64_t{1} << 26;  // 256 MiB
  Tensor block(DType::kF32, {kFloats});
  std::fill_n(block.as<float>(), kFloats, 1.0F);
  const int64_t share = kFloats / threads;
  return best_rate(threads, seconds, [&](int64_t index) {
    const double sum = HWY_DYNAMIC_DISPATCH(sum_of)(block.as<float>() + index * share, share);
    NEXTSCALE_ASSERT(sum > 0);
    return static_cast<double>(share) * sizeof(float);
  });
}

}  // namespace nextscale
#endif  // HWY_ONCE
