"""Chat templates: all known ways out of Jinja are told; templates as real models have them pass without a word."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scanning.looking import blocking, findings

ATTACKS = {
    "a class": "{{ ''.__class__ }}",
    "all subclasses": "{% for c in [].__class__.__base__.__subclasses__() %}{{ c.__name__ }}{% endfor %}",
    "globals of a helper": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "globals of a function": "{{ raise_exception.__globals__['__builtins__']['eval']('1') }}",
    "a subscript": "{{ x['__class__'] }}",
    "a subscript in escapes": r"{{ x['\x5f\x5fclass\x5f\x5f'] }}",
    "two texts beside each other": "{{ x['__cla' 'ss__'] }}",
    "texts joined": "{{ x['__cla' ~ 'ss__'] }}",
    "texts added": "{{ x['_' + '_class_' + '_'] }}",
    "texts formatted": "{{ x['%s%s' % ('__cla', 'ss__')] }}",
    "texts joined by a filter": "{{ x[['__', 'class', '__']|join] }}",
    "a text backwards": "{{ x['__ssalc__'[::-1]] }}",
    "a name put together before": "{% set u = '_' * 2 %}{% set k = u ~ 'class' ~ u %}{{ x[k] }}",
    "a name put together in a namespace": "{% set n = namespace(a='_') %}{% set n.a = n.a + n.a + 'x' %}{{ x[n.a] }}",
    "a name put together in a block": "{% set k %}__class__{% endset %}{{ x[k] }}",
    "a name handed to a macro": "{% macro f(k) %}{{ x[k] }}{% endmacro %}{{ f('_' ~ '_class__') }}",
    "upper case made lower": "{{ x['__CLASS__'|lower] }}",
    "two unknown texts": "{{ x[a + b] }}",
    "the filter attr": "{{ x|attr('class') }}",
    "the filter attr in a block": "{% filter attr('x') %}a{% endfilter %}",
    "map by attribute": "{{ messages|map(attribute='__class__')|list }}",
    "map by an unknown attribute": "{{ messages|map(attribute=foo)|list }}",
    "map with attr": "{{ messages|map('attr', 'x')|list }}",
    "sort by a computed attribute": "{{ messages|sort(false, false, '_' ~ '_class__') }}",
    "join by a computed attribute": "{{ messages|join(',', '_' ~ '_class__') }}",
    "sort by attribute": "{{ messages|sort(attribute='__class__.x') }}",
    "a key of a dict": "{{ dict(__class__=1)|list|first }}",
    "str.format": "{{ '{0.__class__}'.format(x) }}",
    "str.format of an attribute": "{{ '{0.a}'.format(x) }}",
    "str.format of something": "{{ f.format(x) }}",
    "characters by number": "{{ '%c%c' % (95, 95) }}",
    "an old function's globals": "{{ x.func_globals }}",
    "a generator's frame": "{{ x.gi_frame.f_globals }}",
    "the template itself": "{{ self._TemplateReference__context }}",
    "an include": "{% include '/etc/passwd' %}",
    "an import": "{% import 'x' as y %}",
    "an import of names": "{% from 'x' import y %}",
    "a parent": "{% extends 'x' %}",
    "a file": "{{ open('/etc/passwd').read() }}",
    "a command": "{{ os.system('id') }}",
    "a method nobody has": "{{ messages.popen('id') }}",
    "a call of a call": "{{ f()('id') }}",
    "in a test": "{% if x is sameas x.__class__ %}{% endif %}",
    "in a default of a macro": "{% macro f(a=x.__class__) %}{% endmacro %}",
    "in a condition": "{{ 1 if x.__class__ else 2 }}",
    "in arguments": "{{ range(x.__class__) }}",
    "in a slice": "{{ x[1:y.__class__] }}",
    "in a dict": "{{ {'a': x.__class__} }}",
    "behind a raw block": "{% raw %}{{ safe }}{% endraw %}{{ x.__class__ }}",
    "behind a comment": "{# nothing #}{{ x.__class__ }}",
    "a tag without end": "{{ x",
    "a tag that is none": "{% set = %}",
    "deep nesting": "{{ " + "(" * 400 + "1" + ")" * 400 + " }}",
}

#: Templates with the constructs that models of many families use; each is written for this test.
ORDINARY = {
    "chatml": (
        "{%- for message in messages -%}\n{{- '<|im_start|>' + message.role + '\\n' + message.content -}}"
        "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
    ),
    "alternating roles": (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
        "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
        "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}"
        "{% endif %}{% if loop.index0 == 0 and system_message %}{% set content = '<<SYS>>\\n' + system_message + "
        "'\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}"
        "{{ '[INST] ' + content.strip() + ' [/INST]' }}{% endfor %}"
    ),
    "tools and dates": (
        "{%- if not date_string is defined %}{%- if strftime_now is defined %}{%- set date_string = "
        "strftime_now('%d %b %Y') %}{%- else %}{%- set date_string = '26 Jul 2024' %}{%- endif %}{%- endif %}"
        "{%- if tools is not none and tools %}{%- for t in tools %}{{- t | tojson(indent=4) }}{{- '\\n\\n' }}"
        "{%- endfor %}{%- endif %}{%- for tool_call in message.tool_calls %}{%- if tool_call.function is defined %}"
        "{%- set tool_call = tool_call.function %}{%- endif %}{{- tool_call.name ~ '(' }}"
        "{%- for name, value in tool_call.arguments.items() %}{{- name ~ '=' ~ value|tojson }}"
        "{%- if not loop.last %}, {% endif %}{%- endfor %}{%- endfor %}"
    ),
    "thinking": (
        "{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}"
        "{%- for message in messages[::-1] %}{%- set index = (messages|length - 1) - loop.index0 %}"
        "{%- if ns.multi_step_tool and message.role == 'user' and not(message.content.startswith('<tool_response>') "
        "and message.content.endswith('</tool_response>')) %}{%- set ns.multi_step_tool = false %}"
        "{%- set ns.last_query_index = index %}{%- endif %}{%- endfor %}{%- for message in messages %}"
        "{%- set reasoning = message.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}"
        "{%- if loop.index0 > ns.last_query_index %}{{- reasoning }}{{ messages[ns.last_query_index].content }}"
        "{%- endif %}{%- if loop.previtem and loop.previtem.role == 'tool' %}{{- messages[loop.index0 - 1].role }}"
        "{%- endif %}{%- endfor %}"
    ),
    "macros": (
        "{%- macro render(param, level=0) -%}{%- set kinds = {'string': 'str', 'number': 'float'} -%}"
        "{%- if param['type'] in kinds -%}{{ kinds[param['type']] }}{%- elif param.type is string -%}"
        "{{ param.type|upper }}{%- else -%}{{ render(param['items'], level + 1) | trim | indent(2, true) }}"
        "{%- endif -%}{%- endmacro -%}{%- for key, value in tool.parameters.properties | dictsort -%}"
        "{{ key }}: {{ render(value) }}{%- if key not in ['a', 'b'] %},{% endif %}{%- endfor -%}"
        "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join('\\n') }}"
        "{{ messages | rejectattr('role', 'in', ['system', 'tool']) | list | length }}"
    ),
    "generation and control": (
        "{% for m in messages %}{% if m.role == 'x' %}{% continue %}{% endif %}{% generation %}{{ m.content }}"
        "{% endgeneration %}{% break %}{% endfor %}{% set _seen = [] %}{% set _ = _seen.append(1) %}"
        "{% do x.append(2) %}"
    ),
    "texts of a list": "{{ ['a', 'b'][loop.index0 % 2] }}{{ roles[message['role']] }}{{ '{:02d}'.format(3) }}",
    "a table of macros": (
        "{% macro a() %}1{% endmacro %}{% macro b() %}2{% endmacro %}{% set all = [a, b] %}"
        "{% for i in range(all|length) %}{{ all[i]() }}{% endfor %}"
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_way_out_of_the_template_is_told(attack: str) -> None:
    assert blocking("chat_template.jinja", ATTACKS[attack])


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_template_has_no_finding(name: str) -> None:
    assert findings("chat_template.jinja", ORDINARY[name]) == []


def test_a_template_is_known_by_its_well_known_name() -> None:
    assert blocking("sub/chat_template", ATTACKS["a class"])
    assert blocking("chat_template.txt", ATTACKS["a class"])


def test_text_outside_of_tags_is_only_text() -> None:
    assert findings("t.jinja", "use __class__ and {braces} and {{ '{{' }} as you like") == []


def test_a_loop_without_measure_is_told() -> None:
    found = findings("t.jinja", "{% for i in range(99999999999) %}a{% endfor %}")
    assert [one.rule.id for one in found] == ["template-loop"]


def test_invisible_characters_and_addresses_are_told_and_do_not_block() -> None:
    found = findings("t.jinja", "see https://evil.example/x \u202e{{ messages }}")
    assert {one.rule.id for one in found} == {"template-hidden", "template-link"}
    assert not blocking("t.jinja", "see https://evil.example/x \u202e{{ messages }}")


def test_the_offset_is_that_of_the_file_in_bytes() -> None:
    text = "é{{ x.__class__ }}"
    (found,) = findings("t.jinja", text)
    assert text.encode()[found.offset or 0 :].startswith(b".__class__")


@settings(deadline=None)
@given(st.text(alphabet="{}%# x.|['\"]()+~-:,0_\\ansetfor", max_size=80))
def test_any_text_gives_findings_and_nothing_else(text: str) -> None:
    findings("t.jinja", text)


@settings(deadline=None)
@given(st.sampled_from(sorted(ATTACKS)), st.integers(0, 200), st.text(max_size=5))
def test_changed_attacks_end_as_well(name: str, at: int, new: str) -> None:
    text = ATTACKS[name]
    findings("t.jinja", text[:at] + new + text[at + 1 :])
