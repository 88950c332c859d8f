"""Names, groups and specifications of corruptions."""
import pytest

from denoiserep_ext.corruptions.names import (
    ALL,
    BENCHMARK,
    GROUPS,
    HOLDOUT,
    Corruption,
    expand,
    from_words,
    parse,
)


def test_the_benchmark_and_what_is_held_out_make_the_whole():
    assert len(BENCHMARK) == 15 and len(HOLDOUT) == 4 and ALL == BENCHMARK + HOLDOUT
    assert len(set(ALL)) == 19 and set(GROUPS['noise'] + GROUPS['blur'] + GROUPS['weather']
                                       + GROUPS['digital']) == set(BENCHMARK)


def test_names_are_the_librarys():
    pytest.importorskip('imagecorruptions')
    from imagecorruptions import get_corruption_names
    assert list(BENCHMARK) == get_corruption_names('common')
    assert list(HOLDOUT) == get_corruption_names('validation')


def test_a_specification_is_read_as_it_is_written():
    for name in ALL:
        assert str(parse(f'{name}@4')) == f'{name}@4'
    assert parse('fog', 2) == Corruption('fog', 2) == parse('fog@2', 5)


def test_groups_and_names_expand_to_each_once_in_order():
    assert expand(['fog', 'weather', 'spatter']) == ('fog', 'snow', 'frost', 'brightness', 'spatter')
    assert expand(['all', 'benchmark']) == ALL


@pytest.mark.parametrize('specification, words', [
    ('smog@3', "Unknown corruption 'smog': choose gaussian_noise, shot_noise"),
    ('smog', "Unknown corruption 'smog': choose gaussian_noise, shot_noise"),
    ('fog@6', r'fog has no severity 6: choose 1 \(light\) to 5 \(heavy\)'),
    ('fog@0', 'fog has no severity 0'),
    ('fog', "'fog' names no severity: write fog@3, say"),
    ('fog@', 'severity must be a number from 1 to 5, as in fog@3'),
    ('fog@hard', 'severity must be a number'),
    ('fog@-1', 'severity must be a number'),
    ('@3', "Unknown corruption ''"),
])
def test_a_specification_that_cannot_be_is_refused_in_words(specification, words):
    with pytest.raises(ValueError, match=words):
        parse(specification)


@pytest.mark.parametrize('names, words', [
    (['fog', 'smog'], "Unknown corruption 'smog': choose from gaussian_noise.*or a group: all, bench"),
    ([], 'No corruption is named'),
])
def test_names_that_cannot_be_are_refused_in_words(names, words):
    with pytest.raises(ValueError, match=words):
        expand(names)


@pytest.mark.parametrize('severity', [True, 1.5, '3', None])
def test_a_severity_is_an_integer(severity):
    with pytest.raises(ValueError, match='has no severity'):
        Corruption('fog', severity)


def test_words_of_a_command_line():
    found = from_words(['fog', 'contrast@5', 'fog@2', 'fog'], [2, 4])
    assert list(map(str, found)) == ['fog@2', 'fog@4', 'contrast@5']
    assert len(from_words(['holdout'], [3])) == 4
    for words, message in ((['rain'], 'Unknown corruption'), (['rain@2'], 'Unknown corruption'),
                           (['fog@6'], 'no severity 6'), (['fog@x'], 'must be a number')):
        with pytest.raises(ValueError, match=message):
            from_words(words, [3])
    with pytest.raises(ValueError, match='fog has no severity 0'):
        from_words(['fog'], [0])
