// SPDX-License-Identifier: Apache-2.0
// Linear layers as oneDNN matrix products in f32 and bf16; int8_linear.h has those in eight bits.
// The weight is packed once, in the layout that oneDNN prefers, which does not depend on the number
// of rows; every number of rows gets a primitive of its own, because oneDNN's run-time sizes fall
// back to a slower kernel.
//
// Not thread safe: run() points shared memory objects at its arguments, so one thread at a time may
// run a layer. The work inside uses the threads of the context given to make_linear.
#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/int8_linear.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/panel_linear.h"
#include "kernels/linear_weights.h"

namespace nextscale::kernels::cpu {
namespace {

using dnnl::memory;

// The packed layout is the same for any number of rows; asked for with this many.
constexpr int64_t kTypicalRows = 64;

memory::desc bias_desc(const LinearSpec& spec) {
  return {{1, spec.out_features}, memory::data_type::f32, memory::format_tag::ab};
}

memory::desc any_weight(const LinearSpec& spec) {
  return {
      {spec.in_features, spec.out_features}, onednn_type(spec.compute), memory::format_tag::any};
}

dnnl::matmul::primitive_desc plan(const dnnl::engine& engine, const LinearSpec& spec, int64_t rows,
                                  const memory::desc& weight) {
  const memory::desc x({rows, spec.in_features}, onednn_type(spec.compute), memory::format_tag::ab);
  const memory::desc y({rows, spec.out_features}, onednn_type(spec.output), memory::format_tag::ab);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (spec.activation == Activation::kGeluTanh) {
    dnnl::post_ops post_ops;
    post_ops.append_eltwise(1.0F, dnnl::algorithm::eltwise_gelu_tanh, 0.0F, 0.0F);
    attributes.set_post_ops(post_ops);
  }
  return {dnnl::matmul::desc(x, weight, bias_desc(spec), y), attributes, engine};
}

// Of oneDNN's products only "brgemm" computes a row in the same order whatever the number of rows.
bool has_independent_rows(const LinearSpec& spec) {
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  try {
    const auto planned = plan(engine, spec, kTypicalRows, any_weight(spec));
    return std::string_view(planned.impl_info_str()).starts_with("brg");
  } catch (const dnnl::error& error) {
    if (is_unimplemented(error)) return false;
    throw;
  }
}

class OneDnnLinear final : public Linear {
 public:
  OneDnnLinear(const Context& context, const LinearSpec& spec, const LinearWeights& weights)
      : spec_(spec),
        num_threads_(context.num_threads),
        engine_(dnnl::engine::kind::cpu, 0),
        stream_(engine_) {
    const OneDnnThreads threads(num_threads_);
    const memory::desc packed = plan(engine_, spec, kTypicalRows, any_weight(spec)).weights_desc();
    weight_ = pack_matrix(context, engine_, weights.matrix, packed);
    weight_memory_ = memory(packed, engine_, weight_.as<uint8_t>());
    bias_ = bias_values(spec, weights);
    bias_memory_ = memory(bias_desc(spec), engine_, bias_.as<float>());
  }

  void prepare(int64_t rows) override {
    const auto place = std::ranges::lower_bound(prepared_, rows, {}, &Prepared::rows);
    if (place != prepared_.end() && place->rows == rows) return;
    with_onednn_errors("linear", [&] {
      const OneDnnThreads threads(num_threads_);
      const dnnl::matmul::primitive_desc planned =
          plan(engine_, spec_, rows, weight_memory_.get_desc());
      reserve_scratchpad(planned.scratchpad_desc());
      prepared_.insert(place, {rows, dnnl::matmul(planned),
                               memory(planned.src_desc(), engine_, DNNL_MEMORY_NONE),
                               memory(planned.dst_desc(), engine_, DNNL_MEMORY_NONE),
                               memory(planned.scratchpad_desc(), engine_, DNNL_MEMORY_NONE)});
    });
  }

  void run(const Context& /*context*/, const void* x, void* y, int64_t rows) const override {
    const auto found = std::ranges::lower_bound(prepared_, rows, {}, &Prepared::rows);
    NEXTSCALE_ASSERT(found != prepared_.end() && found->rows == rows);
    const OneDnnThreads threads(num_threads_);
    set_handle(found->x, x);
    set_handle(found->y, y);
    set_handle(found->scratchpad, scratchpad_.as<uint8_t>());
    const std::array<dnnl_exec_arg_t, 5> arguments = {
        {{DNNL_ARG_SRC, found->x.get()},
         {DNNL_ARG_WEIGHTS, weight_memory_.get()},
         {DNNL_ARG_BIAS, bias_memory_.get()},
         {DNNL_ARG_DST, found->y.get()},
         {DNNL_ARG_SCRATCHPAD, found->scratchpad.get()}}};
    execute(found->primitive, stream_, arguments);
  }

  size_t packed_bytes() const override {
    return weight_.num_bytes() + bias_.num_bytes() +
           (scratchpad_.empty() ? 0 : scratchpad_.num_bytes());
  }

 private:
  struct Prepared {
    int64_t rows;
    dnnl::matmul primitive;
    memory x;
    memory y;
    memory scratchpad;
  };

  void reserve_scratchpad(const memory::desc& wanted) {
    const int64_t bytes = static_cast<int64_t>(wanted.get_size());
    if (bytes == 0 || (!scratchpad_.empty() && scratchpad_.shape()[0] >= bytes)) return;
    scratchpad_ = Tensor(DType::kU8, {bytes});
  }

  LinearSpec spec_;
  int num_threads_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  Tensor weight_;  // packed
  Tensor bias_;    // [out]
  memory weight_memory_;
  memory bias_memory_;
  Tensor scratchpad_;               // what the largest prepared primitive wants; usually nothing
  std::vector<Prepared> prepared_;  // ascending by rows
};

}  // namespace

std::unique_ptr<Linear> make_linear(const Context& context, const LinearSpec& spec,
                                    const LinearWeights& weights) {
  return with_onednn_errors("linear", [&]() -> std::unique_ptr<Linear> {
    if (spec.compute == DType::kI8) return make_int8_linear(context, spec, weights);
    if (!has_independent_rows(spec)) return make_panel_linear(spec, weights);
    return std::make_unique<OneDnnLinear>(context, spec, weights);
  });
}

size_t linear_bytes(const Context& context, const LinearSpec& spec) {
  return with_onednn_errors("linear", [&]() -> size_t {
    if (spec.compute == DType::kI8) return int8_linear_bytes(context, spec);
    if (!has_independent_rows(spec)) return panel_linear_bytes(spec);
    const OneDnnThreads threads(context.num_threads);
    const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    const auto planned = plan(engine, spec, kTypicalRows, any_weight(spec));
    return planned.weights_desc().get_size() +
           static_cast<size_t>(spec.out_features) * sizeof(float);
  });
}

size_t linear_scratch(const Context& /*context*/, const LinearSpec& spec, int64_t rows) {
  return spec.compute == DType::kI8 ? int8_linear_scratch(spec, rows) : 0;
}

}  // namespace nextscale::kernels::cpu
