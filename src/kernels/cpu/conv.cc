// SPDX-License-Identifier: Apache-2.0
// Convolutions of strips as oneDNN direct convolutions on channels-last data. The weight is packed
// once; every strip height gets a primitive of its own.
//
// Not thread safe: run() points shared memory objects at its arguments, so one thread at a time may
// run a convolution. The work inside uses the threads of the context given to make_conv.
#include <algorithm>
#include <array>
#include <vector>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/onednn.h"

namespace nextscale::kernels::cpu {
namespace {

using dnnl::memory;

class OneDnnConv final : public Conv {
 public:
  OneDnnConv(const Context& context, const ConvSpec& spec, const ConstTensorView& weight,
             const ConstTensorView& bias)
      : spec_(spec),
        num_threads_(context.num_threads),
        engine_(dnnl::engine::kind::cpu, 0),
        stream_(engine_) {
    const OneDnnThreads threads(num_threads_);
    const memory::desc any({spec.out_channels, spec.in_channels, spec.kernel, spec.kernel},
                           memory::data_type::f32, memory::format_tag::any);
    const memory::desc packed = plan(kTypicalRows, any).weights_desc();
    weight_ = pack_weight(engine_, weight, packed.dims(), memory::format_tag::oihw, packed);
    weight_memory_ = memory(packed, engine_, weight_.as<uint8_t>());
    bias_ = Tensor(DType::kF32, {spec.out_channels});
    copy_to_f32(bias, {bias_.as<float>(), static_cast<size_t>(spec.out_channels)});
    bias_memory_ = memory(bias_desc(), engine_, bias_.as<float>());
  }

  void prepare(int64_t rows) override {
    const auto place = std::ranges::lower_bound(prepared_, rows, {}, &Prepared::rows);
    if (place != prepared_.end() && place->rows == rows) return;
    with_onednn_errors("convolution", [&] {
      const OneDnnThreads threads(num_threads_);
      const auto planned = plan(rows, weight_memory_.get_desc());
      prepared_.insert(place, {rows, dnnl::convolution_forward(planned),
                               memory(planned.src_desc(), engine_, DNNL_MEMORY_NONE),
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
        {DNNL_ARG_WEIGHTS, weight_memory_.get()},
        {DNNL_ARG_BIAS, bias_memory_.get()},
        {DNNL_ARG_DST, prepared.y.get()},
        {DNNL_ARG_SCRATCHPAD, prepared.scratchpad.get()},
    }};
    execute(prepared.primitive, stream_, arguments);
  }

  size_t packed_bytes() const override { return weight_.num_bytes() + bias_.num_bytes(); }

  size_t scratch_bytes(int64_t rows) const override {
    return Arena::rounded(find(rows).scratchpad.get_desc().get_size());
  }

 private:
  // The packed layout is the same for any strip height; asked for with this many rows.
  static constexpr int64_t kTypicalRows = 16;

  struct Prepared {
    int64_t rows;
    dnnl::convolution_forward primitive;
    memory x;
    memory y;
    memory scratchpad;
  };

  const Prepared& find(int64_t rows) const {
    const auto found = std::ranges::lower_bound(prepared_, rows, {}, &Prepared::rows);
    NEXTSCALE_ASSERT(found != prepared_.end() && found->rows == rows);
    return *found;
  }

  memory::desc bias_desc() const {
    return {{spec_.out_channels}, memory::data_type::f32, memory::format_tag::a};
  }

  dnnl::convolution_forward::primitive_desc plan(int64_t rows, const memory::desc& weight) const {
    const int64_t padding = spec_.kernel / 2;
    const memory::desc x({1, spec_.in_channels, rows + spec_.kernel - 1, spec_.width},
                         memory::data_type::f32, memory::format_tag::nhwc);
    const memory::desc y({1, spec_.out_channels, rows, spec_.width}, memory::data_type::f32,
                         memory::format_tag::nhwc);
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const dnnl::convolution_forward::desc wanted(
        dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct, x, weight,
        bias_desc(), y, {1, 1}, {0, padding}, {0, padding});
    return {wanted, attributes, engine_};
  }

  ConvSpec spec_;
  int num_threads_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  Tensor weight_;  // packed
  Tensor bias_;    // [out]
  memory weight_memory_;
  memory bias_memory_;
  std::vector<Prepared> prepared_;  // ascending by rows
};

}  // namespace

std::unique_ptr<Conv> make_conv(const Context& context, const ConvSpec& spec,
                                const ConstTensorView& weight, const ConstTensorView& bias) {
  return with_onednn_errors(
      "convolution", [&] { return std::make_unique<OneDnnConv>(context, spec, weight, bias); });
}

}  // namespace nextscale::kernels::cpu
