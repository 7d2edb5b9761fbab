// SPDX-License-Identifier: Apache-2.0
// Convolutions of strips on channels-last data: 1x1 ones are matrix products over pixels, others
// are oneDNN direct convolutions with one primitive per strip height.
//
// oneDNN 2.6 lets the weights' layout follow from height and threads (only its block of output
// channels; sums keep their order) and runs reference code on any other. So each layout that a
// prepared height asks for is packed; the shapes of the known decoders ask for one.
//
// Not thread safe: run() points shared memory objects at its arguments, so one thread at a time may
// run a convolution. The work inside uses the threads of the context given to make_conv.
#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/winograd.h"

namespace nextscale::kernels::cpu {
namespace {

using dnnl::memory;

// A kernel of one pixel: rows * width independent products.
class PixelConv final : public Conv {
 public:
  PixelConv(const Context& context, const ConvSpec& spec, const ConstTensorView& weight,
            const ConstTensorView& bias)
      : width_(spec.width),
        linear_(make_linear(
            context, {.in_features = spec.in_channels, .out_features = spec.out_channels},
            {.matrix = {weight.data, weight.dtype, {spec.out_channels, spec.in_channels}},
             .bias = bias})) {}

  void prepare(int64_t rows) override { linear_->prepare(rows * width_); }
  void run(const Context& context, const float* x, float* y, int64_t rows) const override {
    linear_->run(context, x, y, rows * width_);
  }
  size_t packed_bytes() const override { return linear_->packed_bytes(); }
  size_t scratch_bytes(int64_t /*rows*/) const override { return 0; }

 private:
  int64_t width_;
  std::unique_ptr<Linear> linear_;
};

// The layout of weights is the one for this many rows.
constexpr int64_t kTypicalRows = 16;

memory::desc bias_desc(const ConvSpec& spec) {
  return {{spec.out_channels}, memory::data_type::f32, memory::format_tag::a};
}

dnnl::convolution_forward::primitive_desc plan(const dnnl::engine& engine, const ConvSpec& spec,
                                               int64_t rows) {
  const int64_t padding = spec.kernel / 2;
  const memory::desc x({1, spec.in_channels, rows + spec.kernel - 1, spec.width},
                       memory::data_type::f32, memory::format_tag::nhwc);
  const memory::desc weight({spec.out_channels, spec.in_channels, spec.kernel, spec.kernel},
                            memory::data_type::f32, memory::format_tag::any);
  const memory::desc y({1, spec.out_channels, rows, spec.width}, memory::data_type::f32,
                       memory::format_tag::nhwc);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const dnnl::convolution_forward::desc wanted(
      dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct, x, weight,
      bias_desc(spec), y, {1, 1}, {0, padding}, {0, padding});
  return {wanted, attributes, engine};
}

class OneDnnConv final : public Conv {
 public:
  OneDnnConv(const Context& context, const ConvSpec& spec, const ConstTensorView& weight,
             const ConstTensorView& bias)
      : spec_(spec),
        num_threads_(context.num_threads),
        engine_(dnnl::engine::kind::cpu, 0),
        stream_(engine_),
        bias_(DType::kF32, {spec.out_channels}) {
    const OneDnnThreads threads(num_threads_);
    copy_to_f32(bias, {bias_.as<float>(), static_cast<size_t>(spec.out_channels)});
    bias_memory_ = memory(bias_desc(spec), engine_, bias_.as<float>());
    const memory::desc layout = plan(engine_, spec_, kTypicalRows).weights_desc();
    add_layout(pack_weight(engine_, weight, layout.dims(), memory::format_tag::oihw, layout),
               layout);
  }

  void prepare(int64_t rows) override {
    const auto place = std::ranges::lower_bound(prepared_, rows, {}, &Prepared::rows);
    if (place != prepared_.end() && place->rows == rows) return;
    with_onednn_errors("convolution", [&] {
      const OneDnnThreads threads(num_threads_);
      const auto planned = plan(engine_, spec_, rows);
      prepared_.insert(place, {rows, dnnl::convolution_forward(planned),
                               memory(planned.src_desc(), engine_, DNNL_MEMORY_NONE),
                               weight_in(planned.weights_desc()),
                               memory(planned.dst_desc(), engine_, DNNL_MEMORY_NONE),
                               memory(planned.scratchpad_desc(), engine_, DNNL_MEMORY_NONE)});
    });
  }

  void run(const Context& context, const float* x, float* y, int64_t rows) const override {
    const Prepared& prepared = find(rows);
    const OneDnnThreads threads(num_threads_);
    const ArenaScope scope(*context.scratch);
    set_handle(prepared.x, x);
    set_handle(prepared.y, y);
    set_handle(prepared.scratchpad, context.scratch->take_bytes(scratch_bytes(rows)));
    const std::array<dnnl_exec_arg_t, 5> arguments = {{
        {DNNL_ARG_SRC, prepared.x.get()},
        {DNNL_ARG_WEIGHTS, prepared.weight.get()},
        {DNNL_ARG_BIAS, bias_memory_.get()},
        {DNNL_ARG_DST, prepared.y.get()},
        {DNNL_ARG_SCRATCHPAD, prepared.scratchpad.get()},
    }};
    execute(prepared.primitive, stream_, arguments);
  }

  size_t packed_bytes() const override {
    size_t bytes = bias_.num_bytes();
    for (const Layout& layout : layouts_) bytes += layout.data.num_bytes();
    return bytes;
  }

  size_t scratch_bytes(int64_t rows) const override {
    return Arena::rounded(find(rows).scratchpad.get_desc().get_size());
  }

 private:
  struct Prepared {
    int64_t rows;
    dnnl::convolution_forward primitive;
    memory x;
    memory weight;
    memory y;
    memory scratchpad;
  };

  // The weights once, packed as `object` describes.
  struct Layout {
    Tensor data;
    memory object;
  };

  const Prepared& find(int64_t rows) const {
    const auto found = std::ranges::lower_bound(prepared_, rows, {}, &Prepared::rows);
    NEXTSCALE_ASSERT(found != prepared_.end() && found->rows == rows);
    return *found;
  }

  void add_layout(Tensor data, const memory::desc& layout) {
    memory object(layout, engine_, data.as<uint8_t>());
    layouts_.push_back({std::move(data), std::move(object)});
  }

  memory weight_in(const memory::desc& layout) {
    for (const Layout& known : layouts_) {
      if (known.object.get_desc() == layout) return known.object;
    }
    add_layout(Tensor(DType::kU8, {static_cast<int64_t>(layout.get_size())}), layout);
    memory from = layouts_.front().object;
    memory to = layouts_.back().object;
    dnnl::reorder(from, to).execute(stream_, from, to);
    stream_.wait();
    return to;
  }

  ConvSpec spec_;
  int num_threads_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  Tensor bias_;  // [out]
  memory bias_memory_;
  std::vector<Layout> layouts_;     // at least one
  std::vector<Prepared> prepared_;  // ascending by rows
};

}  // namespace

std::unique_ptr<Conv> make_conv(const Context& context, const ConvSpec& spec,
                                const ConstTensorView& weight, const ConstTensorView& bias) {
  if (spec.kernel == 1) return std::make_unique<PixelConv>(context, spec, weight, bias);
  if (suits_winograd(spec)) return make_winograd(context, spec, weight, bias);
  return with_onednn_errors(
      "convolution", [&] { return std::make_unique<OneDnnConv>(context, spec, weight, bias); });
}

ConvBytes conv_bytes(const Context& context, const ConvSpec& spec, int64_t rows) {
  if (spec.kernel == 1) {
    const LinearSpec pixels{.in_features = spec.in_channels, .out_features = spec.out_channels};
    return {.packed = linear_bytes(context, pixels), .scratch = 0};
  }
  if (suits_winograd(spec)) return winograd_bytes(context, spec);
  return with_onednn_errors("convolution", [&]() -> ConvBytes {
    const OneDnnThreads threads(context.num_threads);
    const auto planned = plan(dnnl::engine(dnnl::engine::kind::cpu, 0), spec, rows);
    return {.packed = planned.weights_desc().get_size() +
                      static_cast<size_t>(spec.out_channels) * sizeof(float),
            .scratch = Arena::rounded(planned.scratchpad_desc().get_size())};
  });
}

}  // namespace nextscale::kernels::cpu
