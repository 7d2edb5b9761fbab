// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/winograd.h"

#include <algorithm>

#include "core/parallel.h"
#include "kernels/cpu/panels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/winograd.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/register_tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nextscale::kernels::cpu {
namespace HWY_NAMESPACE {

constexpr float kNearSquared = static_cast<float>(kNear * kNear);
constexpr float kFarSquared = static_cast<float>(kFar * kFar);

// B^T of the paper: six inputs to six values. Row p holds the coefficients of M(x) / (x - p), where
// M(x) = x (x^2 - kNear^2) (x^2 - kFar^2); the last row those of M.
HWY_INLINE void transform_six(const TileVector in[kTileIn], TileVector out[kTileIn]) {
  const TileTag d;
  const auto near_squared = hn::Set(d, kNearSquared);
  const auto far_squared = hn::Set(d, kFarSquared);
  const auto product = hn::Set(d, kNearSquared * kFarSquared);
  const auto sum = hn::Set(d, kNearSquared + kFarSquared);
  const auto near_even = hn::NegMulAdd(far_squared, in[2], in[4]);
  const auto near_odd =
      hn::Mul(hn::Set(d, static_cast<float>(kNear)), hn::NegMulAdd(far_squared, in[1], in[3]));
  const auto far_even = hn::NegMulAdd(near_squared, in[2], in[4]);
  const auto far_odd =
      hn::Mul(hn::Set(d, static_cast<float>(kFar)), hn::NegMulAdd(near_squared, in[1], in[3]));
  out[0] = hn::MulAdd(product, in[0], hn::NegMulAdd(sum, in[2], in[4]));
  out[1] = hn::Add(near_even, near_odd);
  out[2] = hn::Sub(near_even, near_odd);
  out[3] = hn::Add(far_even, far_odd);
  out[4] = hn::Sub(far_even, far_odd);
  out[5] = hn::MulAdd(product, in[1], hn::NegMulAdd(sum, in[3], in[5]));
}

// A^T of the paper: six values to four outputs. Row i holds the points' i-th powers.
HWY_INLINE void combine_six(const TileVector in[kTileIn], TileVector out[kTileOut]) {
  const TileTag d;
  const auto near_sum = hn::Add(in[1], in[2]);
  const auto near_difference = hn::Sub(in[1], in[2]);
  const auto far_sum = hn::Add(in[3], in[4]);
  const auto far_difference = hn::Sub(in[3], in[4]);
  const auto mix = [d](float near_factor, auto near_part, float far_factor, auto far_part)
                       HWY_ATTR {
                         return hn::MulAdd(hn::Set(d, near_factor), near_part,
                                           hn::Mul(hn::Set(d, far_factor), far_part));
                       };
  constexpr float kNearCubed = static_cast<float>(kNear * kNear * kNear);
  constexpr float kFarCubed = static_cast<float>(kFar * kFar * kFar);
  out[0] = hn::Add(in[0], hn::Add(near_sum, far_sum));
  out[1] =
      mix(static_cast<float>(kNear), near_difference, static_cast<float>(kFar), far_difference);
  out[2] = mix(kNearSquared, near_sum, kFarSquared, far_sum);
  out[3] = hn::Add(mix(kNearCubed, near_difference, kFarCubed, far_difference), in[5]);
}

// Upper left output of a tile.
struct TilePlace {
  int64_t row;
  int64_t column;
};

HWY_INLINE TilePlace place_of(const WinogradJob& job, int64_t tile) {
  const int64_t tiles_across = (job.spec->width + kTileOut - 1) / kTileOut;
  const int64_t index = job.first_tile + tile;
  return {index / tiles_across * kTileOut, index % tiles_across * kTileOut};
}

// Fills in the 36 transformed values of one tile, all channels.
void transform_tile(const WinogradJob& job, int64_t tile) {
  const TileTag d;
  const ConvSpec& spec = *job.spec;
  const TilePlace place = place_of(job, tile);
  const float* pixels[kTileIn][kTileIn];
  for (int64_t row = 0; row < kTileIn; ++row) {
    for (int64_t column = 0; column < kTileIn; ++column) {
      const int64_t source_row = place.row + row;  // the strip begins one row above its outputs
      const int64_t source_column = place.column + column - 1;
      const bool inside =
          source_row < job.rows + 2 && source_column >= 0 && source_column < spec.width;
      pixels[row][column] =
          inside ? job.x + (source_row * spec.width + source_column) * spec.in_channels : job.zeros;
    }
  }
  for (int64_t channel = 0; channel < spec.in_channels; channel += lanes(d)) {
    TileVector half[kTileIn][kTileIn];  // [column][row]
    for (int64_t column = 0; column < kTileIn; ++column) {
      TileVector in[kTileIn];
      for (int64_t row = 0; row < kTileIn; ++row) {
        in[row] = hn::LoadU(d, pixels[row][column] + channel);
      }
      transform_six(in, half[column]);
    }
    for (int64_t row = 0; row < kTileIn; ++row) {
      TileVector in[kTileIn];
      TileVector out[kTileIn];
      for (int64_t column = 0; column < kTileIn; ++column) in[column] = half[column][row];
      transform_six(in, out);
      for (int64_t column = 0; column < kTileIn; ++column) {
        const int64_t position = row * kTileIn + column;
        float* to = job.transformed + (position * job.num_tiles + tile) * spec.in_channels;
        hn::Store(out[column], d, to + channel);
      }
    }
  }
}

// Outputs of one tile, `columns` channels from `first_channel` on; those outside the strip are left
// out.
void finish_tile(const WinogradJob& job, int64_t tile, int64_t first_channel, int64_t columns) {
  const TileTag d;
  const ConvSpec& spec = *job.spec;
  const TilePlace place = place_of(job, tile);
  const int64_t rows = std::min(kTileOut, job.rows - place.row);
  const int64_t across = std::min(kTileOut, spec.width - place.column);
  for (int64_t channel = 0; channel < columns; channel += lanes(d)) {
    TileVector half[kTileIn][kTileOut];  // [column][row]
    for (int64_t column = 0; column < kTileIn; ++column) {
      TileVector in[kTileIn];
      for (int64_t row = 0; row < kTileIn; ++row) {
        const int64_t position = row * kTileIn + column;
        in[row] =
            hn::Load(d, job.products + (position * job.num_tiles + tile) * kPanelColumns + channel);
      }
      combine_six(in, half[column]);
    }
    const auto bias = hn::LoadU(d, job.bias + first_channel + channel);
    for (int64_t row = 0; row < rows; ++row) {
      TileVector in[kTileIn];
      TileVector out[kTileOut];
      for (int64_t column = 0; column < kTileIn; ++column) in[column] = half[column][row];
      combine_six(in, out);
      float* to = job.y + ((place.row + row) * spec.width + place.column) * spec.out_channels +
                  first_channel + channel;
      for (int64_t column = 0; column < across; ++column) {
        hn::StoreU(hn::Add(out[column], bias), d, to + column * spec.out_channels);
      }
    }
  }
}

void run_winograd(const WinogradJob& job) {
  const ConvSpec& spec = *job.spec;
  for (int64_t tile = 0; tile < job.num_tiles; ++tile) transform_tile(job, tile);
  for (int64_t panel = 0; panel < num_panels(spec.out_channels); ++panel) {
    const int64_t columns = std::min(kPanelColumns, spec.out_channels - panel * kPanelColumns);
    for (int64_t position = 0; position < kTilePositions; ++position) {
      const float* weight =
          job.weight + (panel * kTilePositions + position) * spec.in_channels * kPanelColumns;
      const float* left = job.transformed + position * job.num_tiles * spec.in_channels;
      float* products = job.products + position * job.num_tiles * kPanelColumns;
      for_each_tile(job.num_tiles, [&](auto rows, int64_t row) HWY_ATTR {
        product_tile<rows()>(left + row * spec.in_channels, spec.in_channels, weight,
                             spec.in_channels, columns, 1.0F, products + row * kPanelColumns,
                             kPanelColumns);
      });
    }
    for (int64_t tile = 0; tile < job.num_tiles; ++tile) {
      finish_tile(job, tile, panel * kPanelColumns, columns);
    }
  }
}

// Row p of the paper's G holds the powers of point p over the product of its distances to the other
// points.
constexpr double kNear2 = kNear * kNear;
constexpr double kFar2 = kFar * kFar;
constexpr double kAtZero = 1 / (kNear2 * kFar2);
constexpr double kAtNear = 1 / (2 * kNear2 * (kNear2 - kFar2));
constexpr double kAtFar = 1 / (2 * kFar2 * (kFar2 - kNear2));
constexpr double kFilterTransform[kTileIn][3] = {{kAtZero, 0, 0},
                                                 {kAtNear, kAtNear* kNear, kAtNear* kNear2},
                                                 {kAtNear, -kAtNear* kNear, kAtNear* kNear2},
                                                 {kAtFar, kAtFar* kFar, kAtFar* kFar2},
                                                 {kAtFar, -kAtFar* kFar, kAtFar* kFar2},
                                                 {0, 0, 1}};

// G times a vector of three.
template <class D, class V>
HWY_INLINE V transform_taps(D d, int64_t point, V first, V second, V third) {
  const double* g = kFilterTransform[point];
  const V outer = hn::MulAdd(hn::Set(d, g[2]), third, hn::Mul(hn::Set(d, g[0]), first));
  return hn::MulAdd(hn::Set(d, g[1]), second, outer);
}

// G g G^T, in double precision, of the filters g [kTaps][kPanelColumns] from one input channel to a
// panel of output channels; position p goes to `out` + p * stride.
HWY_INLINE void transform_filters(const float* taps, float* out, int64_t stride) {
  const hn::CappedTag<double, kPanelColumns> d;
  const hn::Rebind<float, decltype(d)> d_float;
  using V = hn::VFromD<decltype(d)>;
  for (int64_t column = 0; column < kPanelColumns; column += lanes(d)) {
    const auto tap = [&](int64_t index) HWY_ATTR {
      return hn::PromoteTo(d, hn::LoadU(d_float, taps + index * kPanelColumns + column));
    };
    for (int64_t row = 0; row < kTileIn; ++row) {
      V rows[3];
      for (int64_t at = 0; at < 3; ++at) {
        rows[at] = transform_taps(d, row, tap(at), tap(3 + at), tap(6 + at));
      }
      for (int64_t across = 0; across < kTileIn; ++across) {
        const V value = transform_taps(d, across, rows[0], rows[1], rows[2]);
        hn::StoreU(hn::DemoteTo(d_float, value), d_float,
                   out + (row * kTileIn + across) * stride + column);
      }
    }
  }
}

// Packs filters [out, in, 3, 3] from `count` input channels to the output channels of a panel:
// `packed` is its [kTilePositions, in, kPanelColumns].
void pack_filters(const ConvSpec& spec, const float* filters, int64_t panel, int64_t first_in,
                  int64_t count, float* packed) {
  constexpr int64_t kTaps = 9;
  const int64_t first = panel * kPanelColumns;
  const int64_t columns = std::min(kPanelColumns, spec.out_channels - first);
  alignas(64) float taps[kTaps * kPanelColumns] = {};
  for (int64_t in = first_in; in < first_in + count; ++in) {
    for (int64_t column = 0; column < columns; ++column) {
      const float* filter = filters + ((first + column) * spec.in_channels + in) * kTaps;
      for (int64_t tap = 0; tap < kTaps; ++tap) taps[tap * kPanelColumns + column] = filter[tap];
    }
    transform_filters(taps, packed + in * kPanelColumns, spec.in_channels * kPanelColumns);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nextscale::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nextscale::kernels::cpu {
namespace {

HWY_EXPORT(run_winograd);
HWY_EXPORT(pack_filters);

// A multiple of the register tile's rows. More tiles share one pass over the weights; fewer keep
// the transformed inputs in the cache.
constexpr int64_t kTilesPerJob = 4 * kTileRows;

// Working memory of one worker.
int64_t worker_floats(const ConvSpec& spec) {
  return kTilePositions * kTilesPerJob * (spec.in_channels + kPanelColumns);
}

class WinogradConv final : public Conv {
 public:
  WinogradConv(const Context& context, const ConvSpec& spec, const ConstTensorView& weight,
               const ConstTensorView& bias)
      : spec_(spec),
        num_threads_(context.num_threads),
        weight_(DType::kF32,
                {num_panels(spec.out_channels), kTilePositions, spec.in_channels, kPanelColumns}),
        bias_(DType::kF32, {spec.out_channels}) {
    copy_to_f32(bias, {bias_.as<float>(), static_cast<size_t>(spec.out_channels)});
    Tensor widened;
    const float* exact = weight.as<float>();
    if (weight.dtype != DType::kF32) {
      widened = Tensor(DType::kF32, weight.shape);
      copy_to_f32(weight, {widened.as<float>(), static_cast<size_t>(weight.shape.num_elements())});
      exact = widened.as<float>();
    }
    const int64_t panel_floats = kTilePositions * spec.in_channels * kPanelColumns;
    constexpr int64_t kInputsPerJob = 32;
    const int64_t jobs = (spec.in_channels + kInputsPerJob - 1) / kInputsPerJob;  // of a panel
    parallel_for(num_threads_, num_panels(spec.out_channels) * jobs, [&](int64_t job, int) {
      const int64_t panel = job / jobs;
      const int64_t first = job % jobs * kInputsPerJob;
      HWY_DYNAMIC_DISPATCH(pack_filters)
      (spec_, exact, panel, first, std::min(kInputsPerJob, spec.in_channels - first),
       weight_.as<float>() + panel * panel_floats);
    });
  }

  void prepare(int64_t /*rows*/) override {}

  void run(const Context& context, const float* x, float* y, int64_t rows) const override {
    const ArenaScope scope(*context.scratch);
    const auto memory = context.scratch->take<float>(scratch_bytes(rows) / sizeof(float));
    std::fill_n(memory.begin(), spec_.in_channels, 0.0F);
    const int64_t tiles =
        ((rows + kTileOut - 1) / kTileOut) * ((spec_.width + kTileOut - 1) / kTileOut);
    parallel_for(num_threads_, (tiles + kTilesPerJob - 1) / kTilesPerJob,
                 [&](int64_t index, int worker) {
                   WinogradJob job{.spec = &spec_, .weight = weight_.as<float>()};
                   job.bias = bias_.as<float>();
                   job.x = x;
                   job.y = y;
                   job.rows = rows;
                   job.first_tile = index * kTilesPerJob;
                   job.num_tiles = std::min(kTilesPerJob, tiles - job.first_tile);
                   float* own = memory.data() + spec_.in_channels + worker * worker_floats(spec_);
                   job.transformed = own;
                   job.products = own + kTilePositions * kTilesPerJob * spec_.in_channels;
                   job.zeros = memory.data();
                   HWY_DYNAMIC_DISPATCH(run_winograd)(job);
                 });
  }

  size_t packed_bytes() const override { return weight_.num_bytes() + bias_.num_bytes(); }

  size_t scratch_bytes(int64_t /*rows*/) const override {
    return Arena::rounded(
        static_cast<size_t>(spec_.in_channels + num_threads_ * worker_floats(spec_)) *
        sizeof(float));
  }

 private:
  ConvSpec spec_;
  int num_threads_;
  Tensor weight_;  // [panels, kTilePositions, in, kPanelColumns]
  Tensor bias_;    // [out]
};

}  // namespace

bool suits_winograd(const ConvSpec& spec) {
  // With fewer channels the transformations outweigh the products; with fewer pixels the weights,
  // four times as large, come from memory too often.
  constexpr int64_t kFewestChannels = 64;
  constexpr int64_t kNarrowest = 64;
  return spec.kernel == 3 && spec.width >= kNarrowest &&
         std::min(spec.in_channels, spec.out_channels) >= kFewestChannels &&
         spec.in_channels % kVectorFloats == 0 && spec.out_channels % kVectorFloats == 0;
}

ConvBytes winograd_bytes(const Context& context, const ConvSpec& spec) {
  const int64_t weights =
      num_panels(spec.out_channels) * kTilePositions * spec.in_channels * kPanelColumns;
  const int64_t scratch = spec.in_channels + context.num_threads * worker_floats(spec);
  return {.packed = static_cast<size_t>(weights + spec.out_channels) * sizeof(float),
          .scratch = Arena::rounded(static_cast<size_t>(scratch) * sizeof(float))};
}

std::unique_ptr<Conv> make_winograd(const Context& context, const ConvSpec& spec,
                                    const ConstTensorView& weight, const ConstTensorView& bias) {
  return std::make_unique<WinogradConv>(context, spec, weight, bias);
}

}  // namespace nextscale::kernels::cpu
#endif  // HWY_ONCE
