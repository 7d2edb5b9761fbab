// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "core/parallel.h"
#include "kernels/cpu/cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/decoder.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nextscale::kernels::cpu {
namespace HWY_NAMESPACE {

// Four vectors of sums and four of squares stay in registers and hide the latency of the addition.
constexpr int64_t kVectorsAtOnce = 4;
constexpr int64_t kMaxChannelsAtOnce = kVectorsAtOnce * HWY_MAX_BYTES / sizeof(double);

// Adds `pixels` pixels of kVectors * lanes channels, the first of which is channel `first`.
template <int64_t kVectors, class D>
HWY_INLINE void add_channels(D d, const GroupSumsArgs& args, const float* x, int64_t first,
                             GroupSums& sums_of) {
  const hn::Rebind<float, D> narrow;
  hn::VFromD<D> sums[kVectors];
  hn::VFromD<D> squares[kVectors];
  for (int64_t part = 0; part < kVectors; ++part) sums[part] = squares[part] = hn::Zero(d);
  for (int64_t pixel = 0; pixel < args.width; ++pixel) {
    for (int64_t part = 0; part < kVectors; ++part) {
      const float* from = x + pixel * args.channels + first + part * lanes(d);
      const auto value = hn::PromoteTo(d, hn::LoadU(narrow, from));
      sums[part] = hn::Add(sums[part], value);
      squares[part] = hn::MulAdd(value, value, squares[part]);
    }
  }
  double channel_sums[kMaxChannelsAtOnce];
  double channel_squares[kMaxChannelsAtOnce];
  for (int64_t part = 0; part < kVectors; ++part) {
    hn::StoreU(sums[part], d, channel_sums + part * lanes(d));
    hn::StoreU(squares[part], d, channel_squares + part * lanes(d));
  }
  const int64_t group_channels = args.channels / args.groups;
  for (int64_t channel = 0; channel < kVectors * lanes(d); ++channel) {
    const auto group = static_cast<size_t>((first + channel) / group_channels);
    sums_of.values[group] += channel_sums[channel];
    sums_of.squares[group] += channel_squares[channel];
  }
}

// Sums of every group over one row.
void row_sums(const GroupSumsArgs& args, int64_t row, GroupSums& sums) {
  const hn::ScalableTag<double> d;
  const hn::CappedTag<double, 1> single;
  const float* x = args.x + row * args.width * args.channels;
  int64_t channel = 0;
  for (; channel + kVectorsAtOnce * lanes(d) <= args.channels;
       channel += kVectorsAtOnce * lanes(d)) {
    add_channels<kVectorsAtOnce>(d, args, x, channel, sums);
  }
  for (; channel + lanes(d) <= args.channels; channel += lanes(d)) {
    add_channels<1>(d, args, x, channel, sums);
  }
  for (; channel < args.channels; ++channel) {
    add_channels<1>(single, args, x, channel, sums);
  }
}

// The normalisation (x - mean) * factor + bias of consecutive channels.
constexpr int64_t kAffineChannels = 512;  // three arrays of this many floats fit in the L1 cache
struct Affine {
  float mean[kAffineChannels];
  float factor[kAffineChannels];
  const float* bias;
};

void fill_affine(const GatherRowsArgs& args, int64_t first, int64_t count, Affine& affine) {
  const int64_t group_channels = args.channels / args.groups;
  for (int64_t channel = 0; channel < count; ++channel) {
    const int64_t group = (first + channel) / group_channels;
    affine.mean[channel] = args.mean[group];
    affine.factor[channel] = args.inverse[group] * args.weight[first + channel];
  }
  affine.bias = args.bias + first;
}

template <bool kNormalize, bool kSilu>
HWY_INLINE void convert_pixel(const float* x, const Affine& affine, int64_t count, float* out) {
  for_each_vector(count, [&](auto d, int64_t channel) HWY_ATTR {
    auto value = hn::LoadU(d, x + channel);
    if (kNormalize) {
      const auto centred = hn::Sub(value, hn::LoadU(d, affine.mean + channel));
      value = hn::MulAdd(centred, hn::LoadU(d, affine.factor + channel),
                         hn::LoadU(d, affine.bias + channel));
    }
    if (kSilu) value = silu_of(d, value);
    hn::StoreU(value, d, out + channel);
  });
}

// One row of the picture, from `x` [width, channels] to `out` [width (doubled), channels].
template <bool kNormalize, bool kSilu>
void convert_row(const GatherRowsArgs& args, const float* x, float* out) {
  const int64_t copies = args.doubled ? 2 : 1;
  Affine affine;
  for (int64_t first = 0; first < args.channels; first += kAffineChannels) {
    const int64_t count = std::min(kAffineChannels, args.channels - first);
    if (kNormalize) fill_affine(args, first, count, affine);
    for (int64_t column = 0; column < args.width; ++column) {
      float* pixel = out + column * copies * args.channels + first;
      convert_pixel<kNormalize, kSilu>(x + column * args.channels + first, affine, count, pixel);
      if (args.doubled) std::copy_n(pixel, count, pixel + args.channels);
    }
  }
}

void gather_row(const GatherRowsArgs& args, int64_t row) {
  const int64_t factor = args.doubled ? 2 : 1;
  const int64_t out_elements = args.width * factor * args.channels;
  const int64_t source_row = args.first_row + row;
  float* out = args.out + row * out_elements;
  if (source_row < 0 || source_row >= args.height * factor) {
    std::fill_n(out, out_elements, 0.0F);
    return;
  }
  const float* x = args.x + (source_row / factor - args.first_held) * args.width * args.channels;
  const bool normalize = args.mean != nullptr;
  if (normalize && args.silu) return convert_row<true, true>(args, x, out);
  if (normalize) return convert_row<true, false>(args, x, out);
  if (args.silu) return convert_row<false, true>(args, x, out);
  convert_row<false, false>(args, x, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace nextscale::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nextscale::kernels::cpu {
namespace {

HWY_EXPORT(row_sums);
HWY_EXPORT(gather_row);

// So many rows are summed side by side, then added up in order.
constexpr int64_t kRowsAtOnce = 32;

}  // namespace

void group_sums(const Context& context, const GroupSumsArgs& args) {
  NEXTSCALE_ASSERT(args.groups <= kMaxGroups);
  for (int64_t first = 0; first < args.rows; first += kRowsAtOnce) {
    std::array<GroupSums, kRowsAtOnce> partial{};
    const int64_t count = std::min(kRowsAtOnce, args.rows - first);
    parallel_for(context.num_threads, count, [&](int64_t row, int) {
      HWY_DYNAMIC_DISPATCH(row_sums)(args, first + row, partial[static_cast<size_t>(row)]);
    });
    for (size_t row = 0; row < static_cast<size_t>(count); ++row) {
      for (size_t group = 0; group < static_cast<size_t>(args.groups); ++group) {
        args.sums->values[group] += partial[row].values[group];
        args.sums->squares[group] += partial[row].squares[group];
      }
    }
  }
}

void gather_rows(const Context& context, const GatherRowsArgs& args) {
  parallel_for(context.num_threads, args.rows, [&](int64_t row, int) {
    HWY_DYNAMIC_DISPATCH(gather_row)(args, row);
  });
}

}  // namespace nextscale::kernels::cpu
#endif  // HWY_ONCE
